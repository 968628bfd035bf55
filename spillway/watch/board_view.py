"""How all instruments look in the terminal: a line each, or two where it is narrow. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Group
from rich.text import Text

from pipeline.minute import minute_time
from pipeline.trade import NS_PER_S
from spillway.watch.facts import Board, Row
from spillway.watch.texts import (
    BAD,
    DIM,
    GOOD,
    STRONG,
    UNKNOWN,
    WARN,
    Cell,
    bytes_text,
    cut,
    exact,
    lag_text,
    line,
    side_style,
    signed,
)

WIDE = 116  # from here on all stands in one line
LATE_S, SILENT_S = 5.0, 60.0  # a lag from which on it is coloured: as alerts have it
LEAST_NAME, MOST_NAME = 12, 30
HEADS = ("instrument", "price", "delta", "trades/s", "lag", "today", "gaps")
MORE_HEADS = ("window", "bytes", "writer")


def board_view(board: Board, width: int, height: int | None = None) -> Group:
    """The whole picture. `height`: no more lines than that."""
    lines = [*_title(board, width), Text()]
    if not board.rows:
        nothing = "nothing is in this Redis yet: `spillway run` or `spillway replay` fills it"
        return Group(*lines, Text(nothing if board.used_bytes is not None else "is `spillway run` running?", WARN))
    table = _wide(board) if width >= WIDE else _narrow(board, width)
    for text in table:
        text.truncate(width, overflow="ellipsis")
    lines += table
    room = None if height is None else height - 1
    shown = len(board.rows)
    if room is not None and len(lines) > room:
        each = 1 if width >= WIDE else 2
        shown = max(0, (room - 1 - len(_title(board, width)) - 2) // each)
        lines = lines[: len(_title(board, width)) + 2 + shown * each]
    if shown < board.total:
        more = f"and {board.total - shown:,} more: --venue shows those of one, a higher window more"
        lines.append(Text(cut(more, width), DIM))
    return Group(*lines)


def rows_for(width: int, height: int) -> int:
    """How many instruments have room."""
    return max(1, (height - 6) // (1 if width >= WIDE else 2))


def title_lines(board: Board, width: int, name: str) -> list[Text]:
    """When this is, where it is from, and what is wrong with it."""
    at = datetime.fromtimestamp(board.now_ns // NS_PER_S, UTC)
    memory = ""
    if board.used_bytes is not None:
        limit = f" of {bytes_text(board.limit_bytes)}" if board.limit_bytes else ""
        memory = f": {bytes_text(board.used_bytes)}{limit}"
    where = f"Redis {board.redis}"
    room = width - len(name) - len(memory) - 29
    head = Text.assemble((name, STRONG), f"  {at:%Y-%m-%d %H:%M:%S} UTC  ", (cut(where, max(room, 12)) + memory, DIM))
    lines = [head]
    if board.error:
        lines.append(Text(f"not up to date: {board.error}", f"{BAD} bold"))
    if board.ledger_error:
        lines.append(Text(f"the ledger can't be read: {board.ledger_error}", WARN))
    return lines


def facts_of(row: Row) -> list[Cell]:
    """Price, delta, trades a second, lag, today's coverage and open gaps."""
    price = (exact(row.price), STRONG) if row.price is not None else (UNKNOWN, DIM)
    delta = (signed(row.delta), side_style(row.delta)) if row.delta is not None else (UNKNOWN, DIM)
    rate = (f"{row.per_s:,.1f}", "") if row.per_s is not None else (UNKNOWN, DIM)
    return [price, delta, rate, _lag(row), _coverage(row), _gaps(row)]


def window_line(row: Row, width: int) -> Text:
    """What of it is in Redis, and who writes it."""
    minutes, size = (text for text, _ in _window(row))
    writer, style = _writer(row)
    text = Text(f"{minutes} min, {size} in Redis; written by ", DIM)
    return text.append(cut(writer, width - len(text)), style or None)


# --- inside -------------------------------------------------------------------------------------------------------------


def _title(board: Board, width: int) -> list[Text]:
    return title_lines(board, width, "spillway watch")


def _wide(board: Board) -> list[Text]:
    table = [[_name(row), *facts_of(row), *_window(row), _writer(row)] for row in board.rows]
    heads: list[Cell] = [(head, DIM) for head in (*_heads(board), *MORE_HEADS)]
    left = frozenset({0, len(heads) - 1})
    widths = _widths([heads, *table])
    return [line(cells, widths, left) for cells in [heads, *table]]


def _narrow(board: Board, width: int) -> list[Text]:
    table = [[_name(row), *facts_of(row)] for row in board.rows]
    heads: list[Cell] = [(head, DIM) for head in _heads(board)]
    widths = _widths([heads, *table])
    rest = sum(widths[1:]) + 2 * len(widths[1:])
    widths[0] = max(LEAST_NAME, min(widths[0], width - rest))
    lines = [line(heads, widths)]
    for row, cells in zip(board.rows, table, strict=True):
        lines += [line(cells, widths), Text("  ").append_text(window_line(row, width - 2))]
    return lines


def _heads(board: Board) -> list[str]:
    minutes = [row.minute for row in board.rows if row.minute is not None]
    now = f"delta {minute_time(max(minutes)):%H:%M}" if minutes else "delta"
    return [now if head == "delta" else head for head in HEADS]


def _widths(table: list[list[Cell]]) -> list[int]:
    return [max(Text(text).cell_len for text, _ in column) for column in zip(*table, strict=True)]


def _name(row: Row) -> Cell:
    return cut(str(row.instrument), MOST_NAME), ""


def _writer(row: Row) -> Cell:
    return (row.writer, "") if row.writer else ("nobody", WARN)


def _window(row: Row) -> list[Cell]:
    if row.sealed is None or row.sealed_bytes is None:
        return [(UNKNOWN, DIM), (UNKNOWN, DIM)]
    return [(f"{row.sealed:,}", ""), (bytes_text(row.sealed_bytes), "")]


def _lag(row: Row) -> Cell:
    if row.lag_s is None:
        return ("tape" if row.clock == "tape" else UNKNOWN), DIM
    return lag_text(row.lag_s), BAD if row.lag_s >= SILENT_S else WARN if row.lag_s >= LATE_S else GOOD


def _coverage(row: Row) -> Cell:
    found = row.coverage
    if found is None:
        return UNKNOWN, DIM
    if not found.proves:
        return "unproven", DIM
    share = 100 * found.whole / found.known
    text = "100 %" if found.whole == found.known else f"{min(share, 99.9):.1f} %"
    return text, GOOD if found.whole == found.known else BAD if found.degraded or found.absent else WARN


def _gaps(row: Row) -> Cell:
    told = [f"{row.open_ids:,} ids"] if row.open_ids else []
    told += [f"{row.open_outages} times"] if row.open_outages else []
    if row.open_ids is None and row.open_outages is None:
        return UNKNOWN, DIM
    return (", ".join(told), BAD) if told else ("0", GOOD)
