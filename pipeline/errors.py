"""Every error of ours, in one tree. A message is one line: what, where, what was expected.

SpillwayError
├── BadValue            a value object was given what it refuses
│   └── CurrencyMismatch  two sums of money in different currencies can't be taken together
├── NotAllowed          an entity's state doesn't allow this step: nothing was changed
├── LedgerConflict      what is stored doesn't allow this write: nothing was written
│   ├── Stale           another process changed it since it was read
│   ├── AlreadyExists   something of that id is stored
│   ├── Missing         what it points to, or what shall be updated, isn't stored
│   └── InUse           what shall be deleted, something else that is stored points to
├── DamagedMinute       a minute's bytes are not what was written (checksum, format, shape)
├── TapeError           a tape can't be recognised or read
├── StorageError        a file or folder can't be written or read
│   └── DiskFull
├── JobRunning          another process runs this job on these folders
├── VenueError          a venue can't be reached, refuses, or answers what can't be understood
├── RedisUnavailable    Redis can't be reached, or isn't fit to hold the window
└── WindowError
    ├── WriterHeld      another live process writes this instrument
    ├── Fenced          a newer writer took over: this one must stop
    └── WindowMoved     the stored cursor is not the one that the flush builds on
"""

from __future__ import annotations


class SpillwayError(Exception):
    """The base of all our errors; its text is fit to be shown to a user."""


class BadValue(SpillwayError):
    """A value object was given something that it refuses."""


class CurrencyMismatch(BadValue):
    """Two sums of money in different currencies were to be added, subtracted or compared."""


class NotAllowed(SpillwayError):
    """An order, position or other entity is in a state that doesn't allow this step; nothing was changed."""


class LedgerConflict(SpillwayError):
    """What the ledger holds doesn't allow this write; nothing was written."""


class Stale(LedgerConflict):
    """Another process changed it since it was read: read it again, then decide again."""


class AlreadyExists(LedgerConflict):
    """Something of that id is stored already."""


class Missing(LedgerConflict):
    """What it points to, or what was to be updated, isn't stored."""


class InUse(LedgerConflict):
    """It can't be deleted: something else that is stored points to it."""


class DamagedMinute(SpillwayError):
    """A minute's bytes are not those that were written: damaged, or of a format that this version doesn't know."""


class TapeError(SpillwayError):
    """A tape can't be recognised or can't be read."""


class StorageError(SpillwayError):
    """A file or folder can't be written or read."""


class DiskFull(StorageError):
    """There is no room left; nothing was deleted, and the job goes on when there is."""


class JobRunning(SpillwayError):
    """Another process runs this job on the same folders."""


class VenueError(SpillwayError):
    """A venue can't be reached, refuses a request, or answers what can't be understood."""

    def __init__(self, message: str, *, fatal: bool = False, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.fatal = fatal  # asking again would get the same answer
        self.retry_after_s = retry_after_s  # how long the venue wants to be left alone


class RedisUnavailable(SpillwayError):
    """Redis can't be reached, or is set up so that it would lose the window."""


class WindowError(SpillwayError):
    """The window refused a write."""


class WriterHeld(WindowError):
    """Another live process holds the instrument's lease."""


class Fenced(WindowError):
    """A newer writer took over; nothing was written."""


class WindowMoved(WindowError):
    """The stored cursor is not the one that this flush builds on; nothing was written."""

    def __init__(self, message: str, stored_token: str) -> None:
        super().__init__(message)
        self.stored_token = stored_token
