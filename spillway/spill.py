"""`spillway spill`: the spill job once, now; with --all the window is drained, open minutes and all."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.errors import WriterHeld
from pipeline.instrument import Instrument
from pipeline.spill import SpillReport
from pipeline.trade import Reject
from spillway.app import App


async def spill_now(app: App, everything: bool, progress: Callable[[int, int], None]) -> SpillReport:
    """Spills what is due, or everything. WriterHeld where a live collector still holds open minutes (the sealed ones go)."""
    held: WriterHeld | None = None
    if everything:
        for instrument in await app.window.instruments():
            try:
                await _seal_all(app, instrument)
            except WriterHeld as error:
                held = error
    report = await app.spill(everything=everything, progress=progress)
    if held:
        raise WriterHeld(f"{report.written:,} sealed minutes spilled; open ones stay: {held}")
    return report


async def _seal_all(app: App, instrument: Instrument) -> None:
    """Seals an instrument's open minutes, as its writer: a trade that comes for them later makes a revision."""
    cursor = await app.window.cursor(instrument)
    if cursor is None or not cursor.state.open_minutes:
        return
    state = cursor.state
    writer = await app.writer(
        instrument,
        state.rule,
        _no_rejects,
        clock=state.clock,
        stream=state.stream,
        price_group=state.group,
    )
    try:
        await writer.flush(await app.now_ns(instrument), everything=True)
        await writer.stop()
    finally:
        await writer.abandon()


async def _no_rejects(rejects: list[Reject]) -> None:
    raise AssertionError("sealing takes no trades")
