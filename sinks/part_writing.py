"""Parts written for compaction and for merging: durable, read back and compared before any manifest may name them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

from pipeline.errors import StorageError
from pipeline.instrument import Instrument
from sinks import durable
from sinks.manifest import FORMAT
from sinks.merge import concat
from sinks.parquet import GROUP_ROWS, Part, PartReader, damage, digest
from sinks.tables import Tables, check

THREADS = 2


def put(path: Path, data: bytes | memoryview, root: Path) -> None:
    """Makes `data` the file's content, durable with its name and those of all folders up to `root`."""
    durable.make_folder(path.parent)
    durable.replace_durably(path, data)
    durable.sync_folder(path.parent, root)


def checks(path: Path, part: Part, meant: Sequence[int], pool: Executor) -> list[Future[list[str]]]:
    """Has a part read back: is it what it was meant to be, byte for byte, and value for value in each row group?"""
    shares = [range(len(meant))[i::THREADS] for i in range(THREADS)]
    return [pool.submit(damage, path, part), *(pool.submit(_differences, path, part, meant, share) for share in shares)]


def require_none(found: Iterable[Future[list[str]]]) -> None:
    """StorageError with the first line of what `checks` found."""
    for line in chain.from_iterable(done.result() for done in found):
        raise StorageError(line)


@contextmanager
def removed_on_failure(paths: Iterable[Path]) -> Iterator[None]:
    """What was written in vain must not take room, nor stand in the way of the next run."""
    try:
        yield
    except StorageError:
        for path in paths:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        raise


def checked(hours: Iterable[Tables]) -> Iterator[Tables]:
    """The hours, each found to add up."""
    for hour in hours:
        check(hour)
        yield hour


def grouped(hours: Iterable[Tables], rows: int = GROUP_ROWS) -> Iterator[Tables]:
    """Whole hours as row groups: each ends with the hour in which it is large enough."""
    group: list[Tables] = []
    for hour in hours:
        group.append(hour)
        if sum(len(t.levels) for t in group) >= rows:
            yield concat(group)
            group = []
    if group:
        yield concat(group)


def facts(instrument: Instrument, scales: Mapping[str, int]) -> dict[str, str]:
    """What a Parquet file says of itself."""
    names = {"spillway.format": str(FORMAT), "venue": instrument.venue, "symbol": instrument.symbol}
    return names | {name: str(scale) for name, scale in scales.items()}


def remove(paths: Sequence[Path]) -> Iterator[Path]:
    """Deletes files, giving each that went; their folder's names are durable at the end."""
    for path in paths:
        with durable.explained(path, "deleted"):
            path.unlink(missing_ok=True)
        yield path
    for folder in {path.parent for path in paths}:
        durable.sync_folder(folder)


def _differences(path: Path, part: Part, meant: Sequence[int], groups: Sequence[int]) -> list[str]:
    with PartReader(path, part) as reader:
        wrong = [i for i in groups if digest(reader.read([i], threads=False)) != meant[i]]
    return [f"{path}: read back, row group {i} is not what was written" for i in wrong]
