"""The Dockerfile and the systemd unit: no engine runs here, but their steps do, and what they name is there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from spillway.cli import app
from spillway.settings import Settings
from spillway.supervise import LAST_WORD_S

ROOT = Path(__file__).parents[1]
DOCKERFILE = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
STEPS = [tuple(line.split(maxsplit=1)) for line in DOCKERFILE.splitlines() if line.strip() and not line.startswith("#")]
UNIT = ROOT / "config" / "systemd" / "spillway.service"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PIN = re.compile(r"^([\w.-]+)==([^ ]+)", re.MULTILINE)


def steps(instruction: str) -> list[str]:
    return [argument for name, argument in STEPS if name == instruction]


def copied() -> list[tuple[str, str]]:
    """Source and target of each file or folder that comes from the repository."""
    found = []
    for argument in steps("COPY"):
        if not argument.startswith("--from"):
            *sources, target = argument.split()
            found += [(source, target) for source in sources]
    return found


def ignored(path: str) -> bool:
    """As .dockerignore says, which here holds plain names only; the last line that fits counts."""
    verdict = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        name = line.removeprefix("!")
        if name in ("*", path) or path.startswith(f"{name}/"):
            verdict = not line.startswith("!")
    return verdict


def test_each_stage_begins_with_the_same_whole_version_of_python_that_the_project_takes() -> None:
    images = {image.split(" AS ")[0] for image in steps("FROM")}
    (image,) = images
    version = re.fullmatch(r"python:(3\.\d+)\.\d+-slim-bookworm", image)
    assert version
    least = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert tuple(map(int, version[1].split("."))) >= tuple(map(int, least.split(".")))


def test_all_that_is_copied_is_there_and_reaches_the_engine() -> None:
    for source, _ in copied():
        assert (ROOT / source).exists(), source
        assert not ignored(source), source
    for secret in ("data", "secrets", ".git", ".venv", ".env", "config/redis"):
        assert ignored(secret), secret


def test_packages_come_pinned_by_their_hashes_and_nothing_else_is_fetched() -> None:
    installs = [shlex.split(step) for step in steps("RUN") if "pip install" in step]
    first, second = installs
    assert first[-3:] == ["--require-hashes", "-r", "requirements-service.lock"]
    assert second[-3:] == ["--no-deps", "--no-build-isolation", "."]
    assert not [step for step in steps("RUN") if re.search(r"curl|wget|apt|http", step)]


def test_the_image_s_lock_is_a_part_of_the_project_s() -> None:
    whole = dict(PIN.findall((ROOT / "requirements.lock").read_text()))
    part = dict(PIN.findall((ROOT / "requirements-service.lock").read_text()))
    assert part.items() <= whole.items()
    wanted = {re.split(r"[\[><=; ]", line)[0] for line in PROJECT["project"]["dependencies"]}
    assert wanted | {"setuptools", "psycopg"} <= part.keys()
    assert not {"pytest", "jupyterlab", "duckdb"} & part.keys()


def test_the_image_runs_without_rights_and_says_so_as_compose_does() -> None:
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["spillway"]
    (user,) = steps("USER")
    assert user == service["user"] == "10001:10001"
    assert "--uid 10001" in DOCKERFILE and "--gid 10001" in DOCKERFILE
    assert service["image"] == f"spillway:{PROJECT['project']['version']}"
    (check,) = steps("HEALTHCHECK")
    assert yaml.safe_load(check.split(" CMD ")[1]) == service["healthcheck"]["test"][1:]
    assert f"{steps('VOLUME')[0]}" == next(m.split(":")[1] for m in service["volumes"] if m.startswith("spillway-data"))


@pytest.mark.parametrize("kind", ["image", "unit"])
def test_the_command_is_one_that_the_command_line_takes(kind: str) -> None:
    if kind == "image":
        command = [*yaml.safe_load(steps("ENTRYPOINT")[0]), *yaml.safe_load(steps("CMD")[0])]
        assert ("config/spillway.yaml", command[3]) in copied()
    else:
        (line,) = re.findall(r"^ExecStart=(.+)$", UNIT.read_text(), re.MULTILINE)
        command = [Path(line.split()[0]).name, *line.split()[1:]]
    assert (command[0], command[2], command[4]) == ("spillway", "--config", "--data")
    # With a settings file that isn't there it gets as far as reading it.
    result = CliRunner().invoke(app, [*command[1:3], "no/such.yaml", *command[4:]])
    assert result.exit_code == 1
    assert "no/such.yaml: No such file" in result.output


def test_the_package_is_built_from_what_is_copied_and_holds_all_that_it_needs(tmp_path: Path) -> None:
    build, site = tmp_path / "build", tmp_path / "site"
    build.mkdir()
    for source, _ in copied():
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, build / source, ignore=shutil.ignore_patterns("__pycache__"))
        elif "/" not in source:
            shutil.copy(ROOT / source, build / source)
    build_only = ["--no-deps", "--no-build-isolation", "--no-index", "--root-user-action", "ignore"]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *build_only]
    subprocess.run([*pip, "--target", str(site), "."], cwd=build, check=True)
    ours = [path for folder in ("pipeline", "collectors", "sinks", "spillway") for path in (ROOT / folder).rglob("*")]
    wanted = [path.relative_to(ROOT) for path in ours if path.is_file() and "__pycache__" not in path.parts]
    assert len(wanted) > 200
    assert sorted(str(path) for path in wanted if not (site / path).is_file()) == []


def test_the_unit_is_hardened_and_ends_the_service_in_its_own_time() -> None:
    told = dict(line.split("=", 1) for line in UNIT.read_text().splitlines() if re.match(r"\w+=", line))
    assert told["User"] == told["Group"] == "spillway"
    assert (told["ProtectSystem"], told["NoNewPrivileges"], told["CapabilityBoundingSet"]) == ("strict", "yes", "")
    assert (told["UMask"], told["StateDirectoryMode"]) == ("0027", "0750")
    assert (told["KillMode"], told["Restart"]) == ("mixed", "on-failure")
    assert int(told["TimeoutStopSec"]) >= Settings().schedule.stop_s + LAST_WORD_S
    assert (told["Type"], told["NotifyAccess"]) == ("notify", "main") and int(told["WatchdogSec"]) >= 30
    assert told["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert told["StateDirectory"] == "spillway" and told["ExecStart"].endswith("--data /var/lib/spillway")


def test_systemd_itself_takes_the_unit(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here: the unit was checked by rules of our own only")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/spillway/bin/spillway", "/bin/true"))
    result = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    complaints = [line for line in result.stderr.splitlines() if UNIT.name in line]
    assert complaints == []
