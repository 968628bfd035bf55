"""The canonical bytes of a minute: what a minute file holds, and (compressed) a sealed minute in Redis.

The bytes depend on the minute alone, so that writing it twice gives the same file. They are plain JSON; within it each price
level is a line whose numbers stand between tabs. That costs nothing to a JSON reader, and lets `cut -f2,4,6` and Arrow's csv
reader take a level apart at several hundred MB/s:

    "60000.0":{"price_level":⇥60000.0⇥,"buy_volume":⇥1.5⇥,"sell_volume":⇥0.8⇥,"total_volume":⇥2.3⇥,"delta":⇥0.7⇥,"trade_count":⇥15⇥},

`checksum` is the SHA-256, in hex, of every byte before the text `,"checksum"`.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import sub

import msgspec
import zstandard

from pipeline import fixed
from pipeline.errors import BadValue, DamagedMinute
from pipeline.instrument import Instrument
from pipeline.minute import VWAP_EXTRA_DECIMALS, Minute, Status, minute_text, minute_time

FORMAT = 1
LEVEL_COLUMNS = ("price_level", "buy_volume", "sell_volume", "total_volume", "delta", "trade_count")
TEXTS_KEPT = 100_000  # number texts remembered for each scale: some 10 MB
MAX_BYTES = 1 << 28  # a compressed minute that claims to be larger is damaged

_HEAD_END = b"{\n"
_LEVELS_END = b'\n},"venue"'
_CHECKSUM = b',"checksum":"'
_to_json = msgspec.json.Encoder().encode


class _Zstd(threading.local):
    """Contexts of zstd's, which two threads must not share."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=3, write_checksum=True)
        self.decompressor = zstandard.ZstdDecompressor()


_zstd = _Zstd()


class _Texts(dict[int, str]):
    """The texts of integers at one scale: prices and sizes come again and again, from minute to minute."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self._scale = scale

    def __missing__(self, value: int) -> str:
        if len(self) >= TEXTS_KEPT:
            self.clear()
        text = self[value] = fixed.to_text(value, self._scale)
        return text


class _TextsByScale(dict[int, _Texts]):
    def __missing__(self, scale: int) -> _Texts:
        texts = self[scale] = _Texts(scale)
        return texts


_TEXTS = _TextsByScale()


class Head(msgspec.Struct, frozen=True):
    """All of a minute but its levels, as the file has it: numbers are texts of exact decimals."""

    timestamp: str
    venue: str
    symbol: str
    open: msgspec.Raw
    high: msgspec.Raw
    low: msgspec.Raw
    close: msgspec.Raw
    notional: msgspec.Raw
    buy_volume: msgspec.Raw
    sell_volume: msgspec.Raw
    total_volume: msgspec.Raw
    delta: msgspec.Raw
    vwap: msgspec.Raw
    trade_count: int
    first_trade_id: int | str
    last_trade_id: int | str
    first_trade_ns: int
    last_trade_ns: int
    id_ranges: tuple[tuple[int, int], ...]
    status: Status
    missing: tuple[tuple[int, int], ...]
    seen: int
    expected: int
    price_scale: int
    size_scale: int
    revision: int
    format: int

    @property
    def instrument(self) -> Instrument:
        """Whose minute it is."""
        return Instrument(self.venue, self.symbol)


@dataclass(frozen=True, slots=True)
class Parts:
    """A minute's bytes taken apart, after its checksum was found right."""

    head: Head
    levels: bytes  # the level lines, the last one without its newline
    checksum: str


def encode(minute: Minute) -> bytes:
    """The canonical bytes of `minute`: the same for the same minute, whatever scales it is held at."""
    m = minute
    prices = sorted(m.levels)
    columns = tuple(zip(*(m.levels[price] for price in prices), strict=True))
    price, size = _TEXTS[m.price_scale].__getitem__, _TEXTS[m.size_scale].__getitem__
    price_scale, size_scale = _least_scales(m, columns)
    buy, sell, total, count = map(sum, columns)
    vwap_scale = price_scale + VWAP_EXTRA_DECIMALS
    vwap = fixed.ratio(m.notional, total * 10**m.price_scale, vwap_scale)
    tail = (
        f'\n}},"venue":{_json(m.instrument.venue)},"symbol":{_json(m.instrument.symbol)},'
        f'"open":{price(m.open)},"high":{price(m.high)},"low":{price(m.low)},"close":{price(m.close)},'
        f'"notional":{fixed.to_text(m.notional, m.price_scale + m.size_scale)},'
        f'"buy_volume":{size(buy)},"sell_volume":{size(sell)},"total_volume":{size(total)},"delta":{size(buy - sell)},'
        f'"vwap":{fixed.to_text(vwap, vwap_scale)},"trade_count":{count},'
        f'"first_trade_id":{_json(m.first_trade_id)},"last_trade_id":{_json(m.last_trade_id)},'
        f'"first_trade_ns":{m.first_ns},"last_trade_ns":{m.last_ns},'
        f'"id_ranges":{_json(m.id_ranges)},"status":"{m.status}","missing":{_json(m.missing)},'
        f'"seen":{m.seen},"expected":{m.expected},"price_scale":{price_scale},"size_scale":{size_scale},'
        f'"revision":{m.revision},"format":{FORMAT}'
    )
    stamp = f"{minute_time(m.start):%Y-%m-%dT%H:%M:%S}.000000"
    lines = _level_lines(list(map(price, prices)), columns, size)
    body = f'{{"timestamp":"{stamp}","price_levels":{{\n{lines}{tail}'.encode()
    return body + _CHECKSUM + hashlib.sha256(body).hexdigest().encode() + b'"}\n'


def split(data: bytes, where: str) -> Parts:
    """Takes a minute's bytes apart, `where` naming them in errors. DamagedMinute unless they are just what was written."""
    cut = data.rfind(_CHECKSUM)
    start, end = data.find(_HEAD_END) + len(_HEAD_END), data.rfind(_LEVELS_END)
    if cut < 0 or start < len(_HEAD_END) or end < start:
        raise DamagedMinute(f"{where}: not a whole minute file: expected the format {FORMAT} that Spillway writes")
    checksum = data[cut + len(_CHECKSUM) : cut + len(_CHECKSUM) + 64].decode("ascii", "replace")
    actual = hashlib.sha256(memoryview(data)[:cut]).hexdigest()
    if checksum != actual or data[cut + len(_CHECKSUM) + 64 :] != b'"}\n':
        raise DamagedMinute(f"{where}: damaged: its checksum says {checksum[:12]}..., its bytes give {actual[:12]}...")
    try:
        head = msgspec.json.decode(data[: start - 2] + b"{}" + data[end + 2 : cut] + b"}", type=Head)
    except msgspec.DecodeError as error:
        raise DamagedMinute(f"{where}: {error}") from None
    if head.format != FORMAT:
        raise DamagedMinute(f"{where}: format {head.format}: this version reads format {FORMAT}")
    return Parts(head, data[start:end], checksum)


def decode(data: bytes, where: str) -> Minute:
    """The minute that `data` holds. DamagedMinute unless it is just what was written."""
    parts = split(data, where)
    head = parts.head
    p, s = head.price_scale, head.size_scale
    try:
        levels = {}
        for line in parts.levels.decode().split("\n"):
            cell = line.split("\t")
            levels[_int(cell[1], p)] = (_int(cell[3], s), _int(cell[5], s), _int(cell[7], s), int(cell[11]))
        return Minute(
            instrument=head.instrument,
            start=minute_from_stamp(head.timestamp),
            price_scale=p,
            size_scale=s,
            levels=levels,
            open=_raw(head.open, p),
            high=_raw(head.high, p),
            low=_raw(head.low, p),
            close=_raw(head.close, p),
            notional=_raw(head.notional, p + s),
            first_trade_id=head.first_trade_id,
            last_trade_id=head.last_trade_id,
            first_ns=head.first_trade_ns,
            last_ns=head.last_trade_ns,
            id_ranges=head.id_ranges,
            missing=head.missing,
            status=head.status,
            seen=head.seen,
            revision=head.revision,
        )
    except (BadValue, ValueError, IndexError) as error:
        raise DamagedMinute(f"{where}: {error}") from None


def compress(data: bytes) -> bytes:
    """A minute's bytes as Redis keeps them."""
    return _zstd.compressor.compress(data)


def decompress(data: bytes, where: str) -> bytes:
    """The bytes that were compressed. DamagedMinute where they can't be had."""
    try:
        if zstandard.frame_content_size(data) > MAX_BYTES:
            raise DamagedMinute(f"{where}: damaged in Redis: it claims to be larger than {MAX_BYTES} bytes")
        return _zstd.decompressor.decompress(data, max_output_size=MAX_BYTES)
    except zstandard.ZstdError as error:
        raise DamagedMinute(f"{where}: damaged in Redis: {error}") from None


def minute_from_stamp(stamp: str) -> int:
    """The minute, counted from 1970, of a file's timestamp text. ValueError for another shape."""
    when = datetime.fromisoformat(stamp).replace(tzinfo=UTC)
    if when.second or when.microsecond:
        raise ValueError(f"timestamp {stamp}: expected a whole minute")
    return int(when.timestamp()) // 60


def name_of(minute: Minute) -> str:
    """A minute's name in messages."""
    return f"{minute.instrument} {minute_text(minute.start)}"


def _level_lines(prices: list[str], columns: tuple[tuple[int, ...], ...], size: Callable[[int], str]) -> str:
    """The level lines, in one go: this is most of what sealing a minute costs."""
    buys, sells, totals, counts = columns
    deltas = map(size, map(sub, buys, sells))
    cells = zip(prices, map(size, buys), map(size, sells), map(size, totals), deltas, counts, strict=True)
    return ",\n".join(
        [
            f'"{p}":{{"price_level":\t{p}\t,"buy_volume":\t{b}\t,"sell_volume":\t{s}\t,"total_volume":\t{t}\t,'
            f'"delta":\t{d}\t,"trade_count":\t{n}\t}}'
            for p, b, s, t, d, n in cells
        ]
    )


def _least_scales(m: Minute, columns: tuple[tuple[int, ...], ...]) -> tuple[int, int]:
    """The smallest scales that hold the minute, so that its bytes don't depend on how it came about."""
    buys, sells, totals, _ = columns
    price_scale = fixed.least_scale((*m.levels, m.open, m.high, m.low, m.close), m.price_scale)
    size_scale = fixed.least_scale((*buys, *sells, *totals), m.size_scale)
    while m.notional % 10 ** (m.price_scale - price_scale + m.size_scale - size_scale):
        price_scale += 1  # grouped levels are coarser than the prices that the notional was summed from
    return price_scale, size_scale


def _json(value: object) -> str:
    return _to_json(value).decode()


def _raw(number: msgspec.Raw, scale: int) -> int:
    return _int(bytes(number).decode(), scale)


def _int(text: str, scale: int) -> int:
    """A canonical decimal text as an integer at a scale that holds it."""
    whole, _, decimals = text.partition(".")
    if decimals == "0":
        decimals = ""
    return int(whole + decimals.ljust(scale, "0")) if len(decimals) <= scale else _too_fine(text, scale)


def _too_fine(text: str, scale: int) -> int:
    raise ValueError(f"{text} has more decimals than the {scale} that the file names")
