"""How one instrument's footprint looks as it builds: a column a minute, a row a price, sold x bought in each cell. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import gcd

from rich.console import Group
from rich.text import Text

from pipeline import fixed
from pipeline.minute import Minute, Status, minute_time
from spillway.plot.scale import plain, row_height
from spillway.watch.board_view import facts_of, title_lines, window_line
from spillway.watch.facts import Building, Row
from spillway.watch.texts import DIM, STRONG, WARN, Cell, cut, line, side_style, signed, sized

CELL = 7 + 3 + 7 + 1  # sold x bought, and a mark
MOST_COLUMNS = 12
AROUND = 9  # lines that aren't rows of the footprint
LEAST_ROWS = 3
CONTROL = "●"  # most was traded here
STRONGLY = Decimal("0.6")  # a cell's delta by its volume, from where on it is bold

Sums = tuple[Decimal, Decimal, Decimal]  # bought, sold, all


@dataclass(frozen=True, slots=True)
class Ladder:
    """Minutes at rows of one height. A row is its price by that height, floored."""

    height: Decimal
    cells: Mapping[int, Mapping[int, Sums]]  # minute, row
    rows: range  # those shown, the lowest first

    def price_text(self, row: int) -> str:
        """A row's lower edge, all to the same decimals."""
        return f"{row * self.height:,.{fixed.scale_of(self.height)}f}"

    def controls(self) -> dict[int, int]:
        """Of each minute the row at which most was traded; of equal ones the lowest."""
        return {minute: max(rows, key=lambda row: (rows[row][2], -row)) for minute, rows in self.cells.items()}


def columns_for(width: int) -> int:
    """How many minutes have room beside the prices."""
    return max(1, min(MOST_COLUMNS, (width - 13) // (CELL + 1)))


def ladder(minutes: Sequence[Minute], last: Decimal, most: int, height: Decimal | None) -> Ladder:
    """The rows of `minutes`: all prices if `most` rows hold them, else those around the last price. `height`: of a row."""
    prices = [fixed.to_decimal(price, m.price_scale) for m in minutes for price in m.levels]
    low, high = min(prices), max(prices)
    height = (height or row_height(high - low, most - 1, _step(minutes))).normalize()  # one less: edges seldom fall on rows
    cells = {m.start: _rows(m, height) for m in minutes}
    first, end = int(low // height), int(high // height) + 1
    if end - first > most:
        first = min(max(int(last // height) - most // 2, first), end - most)
        end = first + most
    return Ladder(height, cells, range(first, end))


def footprint_view(building: Building, width: int, height: int | None, tick: Decimal | None) -> Group:
    """The whole picture. `height`: no more lines than that; `tick`: a row's height in the price's unit."""
    row = building.row
    lines = [*title_lines(building.board, width, str(building.instrument)), _facts(row, width), window_line(row, width)]
    if building.current is None or not building.minutes or row.price is None:
        return Group(*lines, Text(f"nothing of {building.instrument} is in this Redis yet", WARN))
    most = max(LEAST_ROWS, (height or 40) - AROUND - len(lines) + 2)
    found = ladder(building.minutes, row.price, most, tick)
    starts = range(building.current - columns_for(width) + 1, building.current + 1)
    explained = f"rows of {plain(found.height)}; sold x bought; {CONTROL} most traded; > last price"
    lines += [Text(cut(explained, width), DIM), Text()]
    return Group(*lines, *_table(building, found, row.price, starts))


# --- inside -------------------------------------------------------------------------------------------------------------


def _facts(row: Row, width: int) -> Text:
    names = ("", "delta ", "trades/s ", "lag ", "today ", "gaps ")
    text = Text(no_wrap=True, overflow="ellipsis")
    for name, (content, style) in zip(names, facts_of(row), strict=True):
        text.append("   " if text else "").append(name, DIM).append(content, style or None)
    text.truncate(width, overflow="ellipsis")
    return text


def _table(building: Building, found: Ladder, last: Decimal, starts: range) -> list[Text]:
    minutes = {m.start: m for m in building.minutes}
    label = max(len(found.price_text(row)) for row in (found.rows[0], found.rows[-1])) + 1
    widths = [max(label, 8), *(CELL for _ in starts)]
    controls = found.controls()
    lines = [line([("", ""), *(_head(start, building) for start in starts)], widths, gap=1)]
    for row in reversed(found.rows):
        here = int(last // found.height) == row
        price: Cell = (f"{'>' if here else ' '}{found.price_text(row)}", STRONG if here else "")
        cells = [_cell(found.cells.get(start, {}).get(row), controls.get(start) == row) for start in starts]
        lines.append(_row(price, cells, widths))
    for name, foot in (("delta", _delta), ("volume", _volume), ("", _status)):
        feet = [foot(minutes.get(start), start in building.still_open) for start in starts]
        lines.append(line([(f" {name}", DIM), *feet], widths, gap=1))
    return lines


def _row(price: Cell, cells: Sequence[Text], widths: Sequence[int]) -> Text:
    text = Text(no_wrap=True, overflow="crop")
    text.append(" " * (widths[0] - len(price[0])) if price[0].startswith(" ") else "")
    text.append(price[0] if price[0].startswith(" ") else ">" + price[0][1:].rjust(widths[0] - 1), price[1] or None)
    for cell in cells:
        text.append(" ").append_text(cell)
    text.rstrip()
    return text


def _head(start: int, building: Building) -> Cell:
    name = f"{minute_time(start):%H:%M}"
    return (f"{name} now ", STRONG) if start in building.still_open else (f"{name}     ", DIM)


def _cell(sums: Sums | None, control: bool) -> Text:
    if sums is None:
        return Text(" " * CELL)
    buy, sell, total = sums
    style = side_style(buy - sell) + (" bold" if total and abs(buy - sell) >= STRONGLY * total else "")
    body = f"{sized(sell):>7} x {sized(buy):<7}"
    return Text.assemble((body, style), (CONTROL if control else " ", "yellow bold"))


def _delta(minute: Minute | None, is_open: bool) -> Cell:
    if minute is None:
        return "", ""
    buy, sell, _, _ = minute.totals
    value = fixed.to_decimal(buy - sell, minute.size_scale)
    return f"{signed(value)}     ", side_style(value)


def _volume(minute: Minute | None, is_open: bool) -> Cell:
    return ("", "") if minute is None else (f"{sized(fixed.to_decimal(minute.totals[2], minute.size_scale))}     ", "")


def _status(minute: Minute | None, is_open: bool) -> Cell:
    if minute is None:
        return "not here     ", DIM
    if is_open:
        return "building     ", DIM
    whole = minute.status in (Status.COMPLETE, Status.REPAIRED)
    return f"{minute.status}     ", DIM if whole else WARN


def _rows(minute: Minute, height: Decimal) -> dict[int, Sums]:
    """A minute's levels at rows of `height`."""
    found: dict[int, list[int]] = {}
    for price, (buy, sell, total, _) in minute.levels.items():
        sums = found.setdefault(int(fixed.to_decimal(price, minute.price_scale) // height), [0, 0, 0])
        sums[0], sums[1], sums[2] = sums[0] + buy, sums[1] + sell, sums[2] + total

    def exact_size(size: int) -> Decimal:
        return fixed.to_decimal(size, minute.size_scale)

    return {row: (exact_size(buy), exact_size(sell), exact_size(total)) for row, (buy, sell, total) in found.items()}


def _step(minutes: Sequence[Minute]) -> Decimal:
    """The largest step that all prices are multiples of."""
    scale = max(m.price_scale for m in minutes)
    step = gcd(*(price * 10 ** (scale - m.price_scale) for m in minutes for price in m.levels))
    prices = {price * 10 ** (scale - m.price_scale) for m in minutes for price in m.levels}
    return fixed.to_decimal(step if len(prices) > 1 else 1, scale)
