"""Named points where a test may kill the process: the proof of P1 pulls the plug at each of them.

`SPILLWAY_CRASH_AT=spill.written` (or `spill.written:3`, the third time) kills this process with SIGKILL there. Nothing else
reads the variable, and without it a point costs one comparison.
"""

from __future__ import annotations

import os
import signal

POINTS = (
    "flush.before",  # trades are summed in memory only
    "flush.after",  # Redis has them; the writer doesn't know yet
    "seal.before",  # sealed minutes are about to be sent with a flush
    "seal.after",
    "file.created",  # a temporary file stands, empty or half-written
    "file.written",  # its bytes are durable, under the temporary name
    "file.renamed",  # under its final name, the folder not yet durable
    "spill.verified",  # read back and found equal; Redis still has the minute
    "spill.deleted",
    "compact.levels",  # one Parquet file is in place, the other is not
    "compact.minutes",  # both are, the manifest doesn't name them
    "compact.manifest",  # the manifest names them; minute files and old parts still lie there
    "compact.deleting",  # some of them are gone
    "month.levels",  # a merged month's levels are in place, its minutes are not
    "month.minutes",  # both are, and the days still count
    "month.manifest",  # the month counts; the days' manifests and parts still lie there
    "month.deleting",  # some of them are gone
    "retention.recorded",  # days are known to be removed; all their files still lie there
    "retention.deleting",  # some of them are gone
)

_name, _, _times = os.environ.get("SPILLWAY_CRASH_AT", "").partition(":")
_countdown = iter(range(int(_times or 1) - 1, -1, -1))


def point(name: str) -> None:
    """Dies here if a test asked for it."""
    if name == _name and next(_countdown) == 0:
        os.kill(os.getpid(), signal.SIGKILL)
