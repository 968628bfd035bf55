"""The demo: what it shows must be so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import structlog

from collectors.simulator import synthetic_trades
from spillway import demo, demo_live
from spillway.app import opened
from spillway.demo_proof import prove
from spillway.replay import replay
from spillway.settings import Settings
from spillway.store import Store


@pytest.mark.slow
async def test_a_small_demo_collects_live_through_faults_while_the_tape_runs_and_proves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "TRADES_A_MINUTE", 8)
    monkeypatch.setattr(demo, "TRADES", (3 * 1440 + 60) * 8)
    monkeypatch.setattr(demo_live, "SECONDS", 4)
    before = structlog.get_config()
    try:
        status = await demo.run_demo(tmp_path, as_json=True)
    finally:
        structlog.configure(**before)
    told = json.loads(capsys.readouterr().out)
    assert (status, told["differing"]) == (0, 0)
    assert told["trades"] == demo.TRADES + 2 * 4 * demo_live.RATE
    assert sum(told["minutes"].values()) == pytest.approx(3 * 1440 + 60, abs=100)  # the pauses are random
    assert [live["instrument"] for live in told["live"]] == [str(instrument) for instrument in demo_live.INSTRUMENTS]
    assert all(live["reconnects"] and live["repaired"] and live["dead_letters"] for live in told["live"])


async def test_the_proof_sees_a_trade_too_few_and_a_trade_too_many(tmp_path: Path) -> None:
    trades = list(synthetic_trades(1, demo._start_ns(), 500, demo.INSTRUMENT.symbol, 60))
    settings = Settings(data_dir=tmp_path)
    async with opened(settings) as app:
        await replay(app, [demo._tape(tmp_path, trades)], demo.INSTRUMENT)
    with Store(settings) as store:
        proofs = [prove(store, demo.INSTRUMENT, told) for told in (trades, trades[:-1], [*trades, trades[0]])]
    assert [proof.differing for proof in proofs] == [0, 1, 1]
    assert proofs[0].levels > 100
