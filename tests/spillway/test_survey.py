"""The survey tells within seconds that Redis hangs, however long its client would wait."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from spillway.app import opened
from spillway.settings import Settings
from spillway.survey import Survey


async def test_a_redis_that_hangs_is_told_to_be_away_and_one_that_goes_on_to_be_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spillway.survey.ANSWER_S", 0.2)
    async with opened(Settings(data_dir=tmp_path)) as app:
        assert app.server
        survey = Survey(app)
        os.kill(app.server.pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(3):
                await survey.look(1)
            assert (survey.redis_up, survey.redis_problem) == (False, "no answer within 0.2 s")
            assert survey.seen_ns == 1 and survey.disks, "all else was looked at"
        finally:
            os.kill(app.server.pid, signal.SIGCONT)
        await survey.look(2)
        assert (survey.redis_up, survey.redis_problem) == (True, "")
