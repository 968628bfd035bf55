"""Files that will be read one after another, asked for all at once: a disk gives a hundred small ones side by side sooner."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def fetch(paths: Iterable[Path]) -> None:
    """Has the system begin to read these files into its cache. Where it can't, or one isn't there, nothing happens."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in paths:
        with suppress(OSError):  # who reads the file will say so
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_WILLNEED)
            finally:
                os.close(handle)
