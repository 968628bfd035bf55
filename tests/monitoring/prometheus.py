"""A real Prometheus with our configuration, that scrapes one address every half second; and promtool."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from tests.conftest import gone_with_us

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config" / "prometheus.yml"
RULES = [ROOT / "config" / "prometheus" / name for name in ("recording.yml", "alerts.yml")]
UNPACKED = ROOT / ".venv" / "prometheus" / "usr" / "bin"  # where .ci/run puts Debian's package


def binary(name: str) -> str:
    """`prometheus` or `promtool`. Where there is none CI fails, and others go without."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/bin:{UNPACKED}")
    if found is None:
        lacking = f"no {name} here: Debian's package prometheus has it"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(lacking)
    return found


def promtool(*arguments: str | Path) -> str:
    """What it prints; an AssertionError where it finds fault."""
    done = subprocess.run([binary("promtool"), *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rules() -> list[dict[str, Any]]:
    """All our rules, recording and alerting."""
    return [rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a query: its values, or its complaint."""

    values: tuple[float, ...]
    complaint: str = ""

    @property
    def is_data(self) -> bool:
        """Whether there is something, and all of it numbers."""
        return bool(self.values) and not any(map(math.isnan, self.values))


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running one."""

    url: str

    def ask(self, expr: str) -> Answer:
        """An instant query."""
        told = self.get("query", query=expr)
        if told["status"] != "success":
            return Answer((), f"{expr}: {told['error']}")
        result = told["data"]["result"]
        values = [result[1]] if told["data"]["resultType"] == "scalar" else [series["value"][1] for series in result]
        return Answer(tuple(map(float, values)))

    def firing(self) -> set[str]:
        """The alerts that fire."""
        return {alert["labels"]["alertname"] for alert in self.get("alerts")["data"]["alerts"] if alert["state"] == "firing"}

    def wait_until_ready(self, timeout_s: float) -> None:
        """Returns once it answers."""
        until = time.monotonic() + timeout_s
        while True:
            try:
                with urlopen(f"{self.url}/-/ready", timeout=5):
                    return
            except OSError:
                assert time.monotonic() < until, "Prometheus doesn't answer"
                time.sleep(0.02)

    def get(self, path: str, **parameters: str) -> Any:
        """Its API's answer."""
        try:
            with urlopen(f"{self.url}/api/v1/{path}?{urlencode(parameters)}", timeout=5) as response:
                return json.load(response)
        except HTTPError as refused:
            with refused:
                return json.load(refused)


def hurried(text: str) -> str:
    """Rules with a second for each minute, in what they wait for and look back at."""
    seconds = {"s": 1, "m": 60, "h": 3600, "d": 86400}

    def shorter(match: re.Match[str]) -> str:
        return f"{match[1]}{max(1, int(match[2]) * seconds[match[3]] // 60)}s"

    return re.sub(r"(\[|for: )(\d+)([smhd])\b", shorter, text)


@contextmanager
def running(folder: Path, target: str, change: Callable[[str], str] = str) -> Iterator[Prometheus]:
    """Our own configuration but for its times and targets, with our rules, or what `change` makes of them; gone at the end."""
    config = yaml.safe_load(CONFIG.read_text())
    for path in RULES:
        (folder / path.name).write_text(change(path.read_text()))
    config["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms", "scrape_timeout": "500ms"}
    config["rule_files"] = [path.name for path in RULES]
    config["scrape_configs"] = [{"job_name": "spillway", "static_configs": [{"targets": [target]}]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{any_port.getsockname()[1]}"
    options = {"config.file": folder / "prometheus.yml", "storage.tsdb.path": folder / "tsdb", "web.listen-address": address}
    command = [binary("prometheus"), *(f"--{name}={value}" for name, value in options.items())]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with gone_with_us(process.pid):
            yield Prometheus(f"http://{address}")
    finally:
        process.terminate()
        process.wait()
