"""`/metrics`, `/healthz` and `/readyz` of the running service."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from spillway.health import Report

RETRY_S = 10.0
_BEARER = "Bearer "

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Pages:
    """What is served. With a token, who hasn't got it learns of the health only whether all is well."""

    metrics: Callable[[], bytes]
    alive: Callable[[], Awaitable[Report]]
    ready: Callable[[], Awaitable[Report]]
    token: str = ""

    def application(self) -> web.Application:
        """All of it as an aiohttp application."""
        application = web.Application(client_max_size=1)  # nobody has anything to tell us
        application.router.add_get("/metrics", self._get_metrics)
        application.router.add_get("/healthz", self._get_alive)
        application.router.add_get("/readyz", self._get_ready)
        return application

    async def _get_metrics(self, request: web.Request) -> web.Response:
        if not self._knows_token(request):
            return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"}, text="expected the bearer token\n")
        return web.Response(body=self.metrics(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _get_alive(self, request: web.Request) -> web.Response:
        return self._told(request, await self.alive())

    async def _get_ready(self, request: web.Request) -> web.Response:
        return self._told(request, await self.ready())

    def _told(self, request: web.Request, report: Report) -> web.Response:
        told = report.as_dict() if self._knows_token(request) else {"ok": report.ok}
        status = 200 if report.ok else 503
        return web.Response(text=json.dumps(told, indent=2) + "\n", status=status, content_type="application/json")

    def _knows_token(self, request: web.Request) -> bool:
        if not self.token:
            return True
        given = request.headers.get("Authorization", "")
        known = given.startswith(_BEARER)
        return hmac.compare_digest(given.removeprefix(_BEARER).encode("utf-8", "replace"), self.token.encode()) and known


@asynccontextmanager
async def served(host: str, port: int, pages: Pages) -> AsyncIterator[None]:
    """Serves while the context lasts.

    A port that is taken (by the process that this one stands by for) is tried again and again.
    """
    if not pages.token and not _is_loopback(host):
        log.warning("metrics are open to the network, and no http.token is set", host=host)
    runner = web.AppRunner(pages.application(), access_log=None)
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


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
