"""An authority of the test's own, and certificates that it signed; made by the openssl command."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True)
class Signed:
    """A certificate and its key."""

    cert: Path
    key: Path


class Authority:
    """Signs certificates for a day."""

    def __init__(self, folder: Path, name: str) -> None:
        if shutil.which("openssl") is None:
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("no openssl here, which makes certificates")
        self._folder, self._name = folder, name
        self.key, self.cert = folder / f"{name}.key", folder / f"{name}.pem"
        self._openssl("req", "-x509", *self._new(self.key), "-out", self.cert, "-subj", f"/CN={name}", "-days", "1")

    def sign(self, name: str, address: str) -> Signed:
        """A certificate for `address`, such as DNS:localhost."""
        made = Signed(self._folder / f"{self._name}-{name}.pem", self._folder / f"{self._name}-{name}.key")
        asked, names = made.cert.with_suffix(".csr"), made.cert.with_suffix(".names")
        names.write_text(f"subjectAltName={address}\n")
        self._openssl("req", *self._new(made.key), "-out", asked, "-subj", f"/CN={name}")
        by = ("-CA", self.cert, "-CAkey", self.key, "-CAcreateserial")
        self._openssl("x509", "-req", "-in", asked, *by, "-out", made.cert, "-days", "1", "-extfile", names)
        return made

    @staticmethod
    def _new(key: Path) -> tuple[str | Path, ...]:
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key)

    @staticmethod
    def _openssl(*args: str | Path) -> None:
        subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True, timeout=60)
