"""docker-compose.yml: hardened, loopback only, no secret in it, and of one mind with the files and settings that it names."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from spillway.settings import load_settings

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
every_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES.keys())
Service = dict[str, Any]


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """What `make secrets` makes."""
    command = ["make", "-s", "-f", str(ROOT / "Makefile"), "secrets", f"PYTHON={sys.executable}"]
    subprocess.run(command, cwd=tmp_path, check=True)
    return tmp_path / "secrets"


# --- what each service must be ------------------------------------------------------------------------------------------


@every_service
def test_a_service_runs_without_rights_on_a_root_that_it_cannot_write(service: Service) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert re.fullmatch(r"[1-9]\d*:\d+", service["user"]), "a number, and not root's"
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & service.keys()


@every_service
def test_a_service_is_bounded_watched_and_comes_back(service: Service) -> None:
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}
    assert service["healthcheck"].keys() >= {"test", "interval", "timeout", "start_period", "retries"}
    assert service["restart"] == "unless-stopped"
    assert re.fullmatch(r"\d+s", service["stop_grace_period"])
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}


@every_service
def test_an_image_is_pinned_to_a_whole_version(service: Service) -> None:
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+(\.\d+)?(-\w+)?", service["image"])


@every_service
def test_a_port_is_open_on_loopback_only(service: Service) -> None:
    for port in service.get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port)


@pytest.mark.parametrize("name", ["redis", "postgres"])
def test_what_keeps_data_is_reached_from_inside_only(name: str) -> None:
    assert SERVICES[name]["networks"] == ["inside"]
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert "ports" not in SERVICES[name]


def test_postgresql_is_a_profile_and_the_rest_is_not() -> None:
    assert {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service} == {
        "postgres": ["postgresql"]
    }


# --- what it names ------------------------------------------------------------------------------------------------------


@every_service
def test_a_mounted_path_is_there_and_read_only_and_a_volume_is_declared(service: Service) -> None:
    for mount in service["volumes"]:
        source, target, *mode = mount.split(":")
        assert target.startswith("/")
        if source.startswith("."):
            assert (ROOT / source).exists()
            assert mode == ["ro"]
        else:
            assert source in COMPOSE["volumes"]


def test_every_volume_and_secret_is_used() -> None:
    mounted = {mount.split(":")[0] for service in SERVICES.values() for mount in service["volumes"]}
    assert COMPOSE["volumes"].keys() == {source for source in mounted if not source.startswith(".")}
    given = {secret for service in SERVICES.values() for secret in service.get("secrets", [])}
    assert COMPOSE["secrets"].keys() == given


@every_service
def test_no_secret_stands_in_the_environment_only_the_name_of_its_file(service: Service) -> None:
    environment: dict[str, str] = service.get("environment", {})
    for name, value in environment.items():
        if re.search("PASSWORD|SECRET|TOKEN|URL", name) and name != "PROMETHEUS_URL":
            assert name.endswith("_FILE"), name
        if value.startswith("/run/secrets/"):
            assert value.removeprefix("/run/secrets/") in service["secrets"]


def test_make_secrets_makes_all_secrets_once_and_nobody_else_can_reach_them(secrets: Path) -> None:
    named = {Path(secret["file"]) for secret in COMPOSE["secrets"].values()}
    assert {Path("secrets") / path.name for path in secrets.iterdir()} == named
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    passwords = [text for name, text in before.items() if not name.endswith("_url")]
    assert len(set(passwords)) == len(passwords) and all(re.fullmatch(r"[0-9a-f]{48}\n", text) for text in passwords)
    command = ["make", "-s", "-f", str(ROOT / "Makefile"), "secrets", f"PYTHON={sys.executable}"]
    subprocess.run(command, cwd=secrets.parent, check=True)
    assert {path.name: path.read_text() for path in secrets.iterdir()} == before


def test_secrets_are_no_part_of_the_repository_or_the_image() -> None:
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines and not any(line.startswith("!secrets") for line in lines)


def test_the_settings_of_the_service_are_taken_with_the_default_file_and_lead_to_the_other_services(secrets: Path) -> None:
    given = SERVICES["spillway"]["environment"]
    assert given["SPILLWAY_LEDGER__URL_FILE"] == "${LEDGER_URL_FILE:-}"
    for ledger in ("", str(secrets / "ledger_url")):
        environ = {name: value.replace("/run/secrets", str(secrets)) for name, value in given.items()}
        settings = load_settings(ROOT / "config" / "spillway.yaml", environ=environ | {"SPILLWAY_LEDGER__URL_FILE": ledger})
        password = (secrets / "redis_spillway").read_text().strip()
        assert settings.redis.connection_url == f"redis://spillway:{password}@redis:6379/0"
        assert settings.http.host == "0.0.0.0"
        if ledger:
            password = (secrets / "postgres").read_text().strip()
            postgres = SERVICES["postgres"]["environment"]
            assert settings.ledger_url == f"postgresql://{postgres['POSTGRES_USER']}:{password}@postgres/spillway"
            assert postgres["POSTGRES_DB"] == "spillway"


def test_prometheus_finds_the_service_and_grafana_finds_prometheus() -> None:
    (targets,) = yaml.safe_load((ROOT / "config" / "prometheus" / "targets.compose.yml").read_text())
    port = load_settings(environ={}).http.port
    assert targets["targets"] == [f"spillway:{port}"]
    assert f"127.0.0.1:{port}:{port}" in SERVICES["spillway"]["ports"]
    (local,) = yaml.safe_load((ROOT / "config" / "prometheus" / "targets.yml").read_text())
    assert local["targets"] == [f"127.0.0.1:{port}"]
    assert SERVICES["grafana"]["environment"]["PROMETHEUS_URL"] == "http://prometheus:9090"
    provisioning = ROOT / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["url"] == "$PROMETHEUS_URL"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "spillway.yml").read_text())["providers"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in SERVICES["grafana"]["volumes"]
    home = Path(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert home.parent == Path(provider["options"]["path"]) and (ROOT / "grafana" / "dashboards" / home.name).exists()


def test_redis_may_use_less_than_its_container() -> None:
    text = (ROOT / "config" / "redis" / "redis.conf").read_text()
    (most,) = re.findall(r"^maxmemory (\d+)gb$", text, re.MULTILINE)
    assert SERVICES["redis"]["deploy"]["resources"]["limits"]["memory"] == f"{int(most) + 1}g"


def test_docker_compose_itself_takes_the_file(secrets: Path) -> None:
    for client in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(client[0]) and subprocess.run([*client, "version"], capture_output=True, check=False).returncode == 0:
            break
    else:
        pytest.skip("no docker compose here: the file was checked by rules of our own only")
    command = [*client, "--project-directory", str(secrets.parent), "-f", str(ROOT / "docker-compose.yml"), "--profile", "*"]
    subprocess.run([*command, "config", "--quiet"], check=True)
