"""A simulated exchange for the demo, tests and benchmarks."""

from __future__ import annotations

from collectors.simulator.exchange import Simulator
from collectors.simulator.faults import Faults
from collectors.simulator.synthetic import SimTrade, merged, synthetic_trades, with_shared_ids

__all__ = ["Faults", "SimTrade", "Simulator", "merged", "synthetic_trades", "with_shared_ids"]
