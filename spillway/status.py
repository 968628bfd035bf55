"""`spillway status`: what is where, how late, and what is missing. Whether it is set up well is told by `doctor`."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

from pipeline.instrument import IdRule, Instrument
from pipeline.minute import day_of, day_text, minute_of, minute_text, minute_time
from pipeline.trade import NS_PER_S
from pipeline.window_facts import fill_of
from sinks.disk_guard import rate_of
from sinks.ledger.backups import newest_made
from spillway.app import App
from spillway.doctor.archive import counted
from spillway.doctor.disks import days_left, shared_disks
from spillway.ledger_status import from_ledger, ledger_lines
from spillway.owner import is_dead, people_name
from spillway.settings import masked


async def gather(app: App) -> dict[str, Any]:
    """The state of a data folder, as plain data."""
    window = set(await app.window.instruments())
    kept = await asyncio.to_thread(lambda: {*app.files.instruments(), *app.archive.instruments()})
    used, limit = await app.window.memory()
    ledger = await asyncio.to_thread(from_ledger, app.settings)
    return {
        "data_dir": str(app.settings.data_dir),
        "redis": {"at": app.window.name, "used_bytes": used, "limit_bytes": limit or None},
        "ledger": {"at": masked(app.settings.ledger_url), "error": ledger.error},
        "window_hours": app.settings.redis.window_hours,
        **await asyncio.to_thread(_around, app, time.time_ns()),
        "instruments": [await _instrument(app, i) | ledger.of(i) for i in sorted(window | kept)],
    }


def _around(app: App, now_ns: int) -> dict[str, Any]:
    """The disks, the ledger's newest backup, and what couldn't be taken."""
    rate = rate_of(app.files, app.archive, day_of(minute_of(now_ns)))
    disks = [(shared.names, shared.disk, days_left(shared.disk, rate)) for shared in shared_disks(app.settings)]
    made_ns = newest_made(app.settings.backup_dir)
    return {
        "disks": [
            {"folders": names, "free_bytes": disk.free, "total_bytes": disk.total, "days_left": days and round(days, 1)}
            for names, disk, days in disks
        ],
        "ledger_backup": f"{datetime.fromtimestamp(made_ns / NS_PER_S, UTC):%Y-%m-%dT%H:%M:%SZ}" if made_ns else None,
        "dead_letters": sum(counted(app.settings.dead_letter_dir).values()),
    }


async def _instrument(app: App, instrument: Instrument) -> dict[str, Any]:
    files, archive = await asyncio.to_thread(_below, app, instrument)
    return {
        "venue": instrument.venue,
        "symbol": instrument.symbol,
        **await _window(app, instrument),
        "files": files,
        "archive": archive,
    }


async def _window(app: App, instrument: Instrument) -> dict[str, Any]:
    sealed = await app.window.sealed_minutes(instrument)
    cursor = await app.window.cursor(instrument)
    holder = await app.window.holder(instrument)
    size = (await fill_of(app.window, instrument)).bytes
    found: dict[str, Any] = {
        "window": {"sealed": len(sealed), "from": _text(sealed[:1]), "to": _text(sealed[-1:]), "bytes": size},
        "writer": people_name(holder) if holder and not is_dead(holder) else None,
    }
    if cursor is None:
        return found
    state = cursor.state
    found["window"]["open"] = [minute_text(m) for m in state.open_minutes]
    overdue = [m for m in sealed if m < await app.cutoff(instrument)] if sealed else []
    resumed = await app.window.resume(instrument)
    gaps = resumed[1].gaps() if resumed else []
    return found | {
        "ids": str(state.rule),
        "clock": state.clock,
        "trades": state.trades,
        "volume": state.volume,
        "watermark": minute_time(0).fromtimestamp(state.watermark_ns / NS_PER_S, minute_time(0).tzinfo).isoformat(),
        "late_s": round(time.time() - state.watermark_ns / NS_PER_S, 1) if state.clock == "wall" else None,
        "unspilled_overdue": len(overdue),
        "gaps": [
            {"first_id": g.first_id, "last_id": g.last_id, "ids": len(g), "from": minute_text(g.minutes[0])} for g in gaps
        ],
    }


def _below(app: App, instrument: Instrument) -> tuple[dict[str, Any], dict[str, Any]]:
    days = app.files.days(instrument)
    minutes = {day: app.files.of_day(instrument, day) for day in days}
    archived = app.archive.days(instrument)
    files = {
        "minutes": sum(map(len, minutes.values())),
        "from": _text(minutes[days[0]][:1]) if days else None,
        "to": _text(minutes[days[-1]][-1:]) if days else None,
    }
    archive = {
        "days": len(archived),
        "from": day_text(archived[0]) if archived else None,
        "to": day_text(archived[-1]) if archived else None,
    }
    return files, archive


def describe(found: dict[str, Any]) -> list[str]:
    """The state for people."""
    redis = found["redis"]
    lines = [f"{found['data_dir']}: Redis at {redis['at']} uses {redis['used_bytes'] / 1e6:,.1f} MB"]
    if found["ledger"]["error"]:
        lines.append(f"the ledger can't be read: {found['ledger']['error']}")
    lines += [*map(_disk, found["disks"]), *_beside(found)]
    if not found["instruments"]:
        lines.append("nothing is kept yet: try `spillway replay` or `spillway run`")
    for i in found["instruments"]:
        lines.append(f"{i['venue']} {i['symbol']}: {_writer(i)}")
        size = f"{i['window']['bytes'] / 1e6:,.1f} MB of Redis"
        lines.append(f"  window   {_span(i['window'], 'sealed')}, {len(i['window'].get('open', []))} open, {size}")
        lines.append(f"  files    {_span(i['files'], 'minutes')}")
        lines.append(f"  archive  {_span(i['archive'], 'days')}")
        if "trades" in i:
            late = f", {i['late_s']} s ago" if i["late_s"] is not None else ""
            lines.append(f"  taken    {i['trades']:,} trades, volume {i['volume']}, the last at {i['watermark']}{late}")
            if i["unspilled_overdue"]:
                lines.append(f"  overdue  {i['unspilled_overdue']:,} minutes should have left the window: run `spillway spill`")
            lines.append(f"  missing  {_missing(i)}")
        lines += ledger_lines(i)
    return lines


def _disk(disk: dict[str, Any]) -> str:
    ahead = "" if disk["days_left"] is None else f": {disk['days_left']:,.0f} days at the present rate"
    return f"disk of {', '.join(disk['folders'])}: {disk['free_bytes'] / 1e9:,.1f} GB are free{ahead}"


def _beside(found: dict[str, Any]) -> list[str]:
    letters, backup = found["dead_letters"], found["ledger_backup"]
    lines = [f"dead letters: {letters:,} rows and frames couldn't be taken; dead_letters/ has the reasons"] if letters else []
    return [*lines, f"the ledger's newest backup is of {backup}"] if backup else lines


def _missing(i: dict[str, Any]) -> str:
    if i["ids"] != IdRule.CONTIGUOUS:
        return "can't be told: the venue's trade ids prove nothing"
    ids = sum(gap["ids"] for gap in i["gaps"])
    return f"{ids:,} trade ids in {len(i['gaps']):,} gaps" if ids else "no trade id"


def _writer(i: dict[str, Any]) -> str:
    return f"written by {i['writer']}" if i["writer"] else "not being written"


def _span(part: dict[str, Any], unit: str) -> str:
    return f"{part[unit]:,} {unit}, {part['from']} to {part['to']}" if part[unit] else f"0 {unit}"


def _text(minutes: list[int]) -> str | None:
    return minute_text(minutes[0]) if minutes else None
