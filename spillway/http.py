"""`/metrics`, `/healthz` and `/readyz` of the running service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

RETRY_S = 10.0

log = structlog.get_logger()


@asynccontextmanager
async def served(host: str, port: int, *, metrics: Callable[[], bytes], ready: Callable[[], str]) -> AsyncIterator[None]:
    """Serves while the context lasts. `ready` gives an empty text, or what is lacking.

    A port that is taken (by the process that this one stands by for) is tried again and again.
    """

    async def get_metrics(request: web.Request) -> web.Response:
        return web.Response(body=metrics(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def get_health(request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def get_ready(request: web.Request) -> web.Response:
        lacking = ready()
        return web.Response(text=f"{lacking or 'ok'}\n", status=503 if lacking else 200)

    application = web.Application()
    application.router.add_get("/metrics", get_metrics)
    application.router.add_get("/healthz", get_health)
    application.router.add_get("/readyz", get_ready)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    over = asyncio.Event()
    listening = asyncio.create_task(_listen(runner, host, port, over), name="http")
    try:
        yield
    finally:
        over.set()
        await listening  # whoever is cancelled while it begins to listen leaves the socket behind
        await runner.cleanup()


async def _listen(runner: web.AppRunner, host: str, port: int, over: asyncio.Event) -> None:
    told = False
    while not over.is_set():
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            await site.stop()  # the runner would keep each that was tried
            if not told:
                log.warning("metrics are not served yet", host=host, port=port, error=error.strerror or str(error))
            told = True
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), RETRY_S)
        else:
            log.info("serving metrics", at=[f"http://{a[0]}:{a[1]}/metrics" for a in runner.addresses])
            return
