"""A json list cut into its items while it is read, so that memory doesn't grow with it. Pure.

Items are told by counting brackets outside of strings. A broken item may leave that count wrong for good: then the next item is
found by the key that the first one began with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec
import numpy as np

from collectors.tapes.block import MAX_RAW
from collectors.tapes.chunks import Chunk
from collectors.venues.parsed import REFUSED
from pipeline.errors import TapeError
from pipeline.trade import Reject

LONGEST = 1 << 20  # bytes of an item; what is longer is broken

_BEGIN = re.compile(rb'(?:\xef\xbb\xbf)?\s*\[\s*(?=\]|\{\s*(?:\}|("(?:[^"\\]|\\.)*")))')
_LIST_OF_OBJECTS = re.compile(rb"(?:\xef\xbb\xbf)?\s*\[\s*[{\]]")
_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_TAIL = 1 << 14  # bytes in which the last item's begin is looked for
_QUOTE, _COMMA = 3, 2
_KINDS = np.zeros(256, dtype=np.int8)  # of characters that matter; an opening bracket is 1, a closing one -1
_KINDS[list(b'[{]},"')] = (1, 1, -1, -1, _COMMA, _QUOTE)


@dataclass(frozen=True, slots=True)
class Items:
    """Some items of a list, each valid json, with their numbers in it (from 1); and what is no json."""

    raws: list[msgspec.Raw]
    numbers: list[int]
    done_bytes: int
    file_name: str
    rejects: list[Reject] = field(default_factory=list)

    def raw(self, at: int) -> tuple[str, str]:
        """An item as a refused one is kept, and where it stands."""
        return _shown(bytes(self.raws[at])), _where(self.file_name, self.numbers[at])


class ItemCutter:
    """Cuts one json list."""

    def __init__(self, file_name: str) -> None:
        self._name = file_name
        self._rest = b""
        self._number = 0  # of the last item
        self._next: re.Pattern[bytes] | None = None  # a comma and how an item begins; None before the list began
        self._ended = False

    def batches(self, pieces: Iterable[Chunk]) -> Iterator[Items]:
        """The list's items. A cut or damaged list gives all that is before, then TapeError."""
        done = 0
        try:
            for piece in pieces:
                self._rest, done = self._rest + piece.data, piece.done_bytes
                if self._ended and self._rest.strip():
                    break
                if not self._ended and (self._next or self._begin()):
                    yield self._most_at_once(done) or self._whole_ones(done)
        except TapeError:
            yield self._last_ones(done)
            raise
        if self._next and not self._ended:
            yield self._whole_ones(done)
        if not self._ended:
            yield self._last_ones(done)
            if not self._ended:
                raise TapeError(f"{self._name}: truncated: the json list ends after item {self._number} without its ']'")
        if self._rest.strip():
            raise TapeError(f"{self._name}: after the end of the list, at item {self._number}, comes something else")

    def _begin(self) -> bool:
        if begin := _BEGIN.match(self._rest):
            self._rest = self._rest[begin.end() :]
            self._next = re.compile(rb",\s*(?=\{\s*%b\s*:)" % re.escape(begin[1]) if begin[1] else rb"(?!)")
        elif len(self._rest) > LONGEST:
            raise TapeError(f"{self._name}: the json list begins with no object")
        return begin is not None

    def _most_at_once(self, done: int) -> Items | None:
        """The quick way: a guess at where the last item begins, which decoding proves (a cut inside an item leaves it open)."""
        assert self._next
        text = self._rest
        cuts = [match.start() for match in self._next.finditer(text, max(0, len(text) - _TAIL))]
        if not cuts or (raws := _decoded(text[: cuts[-1]])) is None:
            return None
        self._rest = text[cuts[-1] + 1 :]
        return self._numbered(raws, done)

    def _whole_ones(self, done: int) -> Items:
        """All items that are there whole; what may go on in the next piece is left."""
        text = self._rest
        commas, end = _outermost(text)
        if end is None and not commas:
            return self._salvaged(done) if len(text) > LONGEST else Items([], [], done, self._name)
        self._ended = end is not None
        cut = commas.pop() if end is None else end
        self._rest = text[cut + 1 :]
        if (raws := _decoded(text[:cut])) is not None:
            return self._numbered(raws, done)
        starts, ends = [0, *(comma + 1 for comma in commas)], [*commas, cut]
        return self._one_by_one([text[a:b] for a, b in zip(starts, ends, strict=True)], done)

    def _numbered(self, raws: list[msgspec.Raw], done: int) -> Items:
        first, self._number = self._number + 1, self._number + len(raws)
        return Items(raws, list(range(first, self._number + 1)), done, self._name)

    def _salvaged(self, done: int) -> Items:
        """A broken item set the count of brackets wrong: items by how they begin. The last is left, it may go on."""
        assert self._next
        *texts, rest = self._next.split(self._rest)
        self._rest = rest if texts else b""
        return self._one_by_one(texts or [rest], done)

    def _last_ones(self, done: int) -> Items:
        """What is left at the file's end: items after a broken one, or the begin of one that the end cut off."""
        if not self._next or self._ended:
            return Items([], [], done, self._name)
        text, self._rest = self._rest.rstrip(), b""
        texts = self._next.split(text.removesuffix(b"]"))
        if not _decoded(texts[-1]):
            texts.pop()  # cut off: the error tells of it
        elif text.endswith(b"]"):
            self._ended = True
        return self._one_by_one(texts, done)

    def _one_by_one(self, texts: list[bytes], done: int) -> Items:
        found = Items([], [], done, self._name)
        for text in texts:
            raws = _decoded(text)
            if raws is None:
                self._number += 1
                found.rejects.append(Reject(_shown(text), _where(self._name, self._number), "broken json"))
            for raw in raws or ():
                self._number += 1
                found.raws.append(raw)
                found.numbers.append(self._number)
        return found


def looks_like_list(head: bytes) -> bool:
    """Whether this begins a json list of objects."""
    return _LIST_OF_OBJECTS.match(head) is not None


def first_items(head: bytes) -> list[msgspec.Raw]:
    """The items that a list's first bytes hold whole."""
    found: list[msgspec.Raw] = []
    with suppress(TapeError):
        for items in ItemCutter("").batches([Chunk(head, 0)]):
            found += items.raws
    return found


def _outermost(text: bytes) -> tuple[list[int], int | None]:
    """The places of the commas between items, and of the list's end."""
    if b"\\" in text:
        text = _ESCAPED.sub(b"__", text)
    kinds = _KINDS[np.frombuffer(text, dtype=np.uint8)]
    places = np.flatnonzero(kinds)
    kinds = kinds[places]
    quotes = kinds == _QUOTE
    outside = ~quotes & (np.cumsum(quotes) % 2 == 0)
    places, kinds = places[outside], kinds[outside]
    depth = np.cumsum(np.where(kinds == _COMMA, 0, kinds))
    below = np.flatnonzero(depth < 0)[:1].tolist()
    last = below[0] if below else len(places)
    commas: list[int] = places[:last][(kinds[:last] == _COMMA) & (depth[:last] == 0)].tolist()
    ended = bool(below) and text[places[last]] == ord("]")
    return commas, int(places[last]) if ended else None


def _decoded(text: bytes) -> list[msgspec.Raw] | None:
    try:
        return _LIST.decode(b"[" + text + b"]")
    except REFUSED:
        return None


def _where(file_name: str, number: int) -> str:
    return f"{file_name}:item {number}"


def _shown(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").strip()[:MAX_RAW]
