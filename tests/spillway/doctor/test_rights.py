"""Who may read and write what is ours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sinks.ledger.ledger import open_ledger
from spillway.doctor import rights
from spillway.doctor.finding import Level
from spillway.redis_server import ensure_embedded
from spillway.settings import Settings
from tests.spillway.doctor.found import only


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = Settings(data_dir=tmp_path / "data")
    with open_ledger(found.ledger_url):
        pass
    return found


def test_what_we_make_ourselves_is_closed_to_others(settings: Settings) -> None:
    with ensure_embedded(settings.redis_dir):
        found = list(rights.look(settings, []))
    assert only(found).level is Level.OK


def test_a_redis_that_is_started_first_leaves_the_data_folder_closed_too(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "deep" / "data")
    with ensure_embedded(settings.redis_dir):
        pass
    assert only(rights.look(settings, [])).level is Level.OK


def test_folders_and_files_that_others_may_read_are_told_with_what_closes_them(settings: Settings, tmp_path: Path) -> None:
    secret, ledger = tmp_path / "password", settings.data_dir / "ledger.db"
    secret.write_text("hunter2")
    secret.chmod(0o644)
    ledger.chmod(0o666)
    settings.data_dir.chmod(0o755)
    found = [f for f in rights.look(settings, [secret]) if f.level is Level.WARNING]
    assert [f.todo for f in found] == [f"chmod 750 {settings.data_dir}", f"chmod 640 {ledger}", f"chmod 640 {secret}"]
    for path, mode in ((settings.data_dir, 0o750), (ledger, 0o640), (secret, 0o640)):
        path.chmod(mode)
    assert only(rights.look(settings, [secret])).level is Level.OK


def test_a_file_in_a_folders_place_is_wrong(settings: Settings) -> None:
    settings.storage_dir.write_text("")
    assert "is no folder" in only(rights.look(settings, []), level=Level.WRONG).found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_owner_is_told(settings: Settings) -> None:
    os.chown(settings.data_dir, 12345, -1)
    assert "uid 12345 owns it" in only(rights.look(settings, []), level=Level.WARNING).found


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_or_made_is_wrong(settings: Settings) -> None:
    settings.data_dir.chmod(0o500)
    assert len([f for f in rights.look(settings, []) if f.level is Level.WRONG]) >= 2


def test_a_folder_that_is_not_there_yet_is_only_noted(tmp_path: Path) -> None:
    assert only(rights.look(Settings(data_dir=tmp_path / "data"), [])).level is Level.NOTE
