"""Runs a command and tells the most memory that it held: `python -m bench.peak COMMAND ...` -> its output, then `peak BYTES`.

It is a process of its own, and small, since Linux counts to a child what its parent held when it was started.
"""

from __future__ import annotations

import resource
import subprocess
import sys

if __name__ == "__main__":
    code = subprocess.run(sys.argv[1:], check=False).returncode
    unit = 1 if sys.platform == "darwin" else 1024
    print("\npeak", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit, flush=True)
    sys.exit(code)
