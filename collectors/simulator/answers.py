"""The REST side of the simulated exchange: what it answers, and what goes wrong there. Knows aiohttp."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable

from aiohttp import web

from collectors.simulator.faults import Plan
from collectors.simulator.tape import Tape
from collectors.simulator.wires.wire import Page, Refused, Wire

_BROKEN = (500, 502, 503)
_GARBAGE = b"<html><head><title>502 Bad Gateway</title></head></html>"


class Answers:
    """Answers requests to a venue's pages."""

    def __init__(self, wire: Wire, tape: Tape, plan: Callable[[], Plan], befell: Counter[str]) -> None:
        self.requests = 0
        self.next: deque[tuple[int, dict[str, str]]] = deque()  # (status, headers) for the next requests
        self._wire = wire
        self._tape = tape
        self._plan = plan
        self._befell = befell

    def app(self) -> web.Application:
        """All pages."""
        app = web.Application()
        for path, page in self._wire.pages.items():
            app.router.add_get(path, self._handler(page))
        return app

    def _handler(self, page: Page) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            self.requests += 1
            if self.next:
                status, headers = self.next.popleft()
                return web.json_response({"code": -1, "msg": "simulated"}, status=status, headers=headers)
            return self._fault() or await self._garbled(request, self._truth(page, request))

        return answer

    def _truth(self, page: Page, request: web.Request) -> web.Response:
        try:
            return _json(200, page(self._tape, {**request.query, **request.match_info}))
        except Refused as refused:
            return _json(refused.status, refused.body)
        except (KeyError, ValueError):
            return _json(self._wire.bad.status, self._wire.bad.body)

    def _fault(self) -> web.Response | None:
        plan = self._plan()
        if self._happens("busy"):
            return _json(429, self._wire.busy, {"Retry-After": str(plan.faults.retry_after_s)})
        if self._wire.soft_busy and self._happens("soft_busy"):
            return _json(200, self._wire.soft_busy)
        if self._happens("broken"):
            return web.Response(status=plan.dice("broken").choice(_BROKEN), body=_GARBAGE, content_type="text/html")
        return None

    def _happens(self, fault: str) -> bool:
        happens = self._plan().chance(fault)
        self._befell[fault] += happens
        return happens

    async def _garbled(self, request: web.Request, truth: web.Response) -> web.StreamResponse:
        if not self._happens("garbled"):
            return truth
        body = truth.body
        assert isinstance(body, bytes), "pages are texts"
        dice = self._plan().dice("garbled")
        kind = dice.randrange(3)
        part = body[: dice.randrange(len(body))]
        if kind == 0:
            return web.Response(body=_GARBAGE, content_type="text/html")
        if kind == 1:
            return web.Response(body=part, content_type="application/json")
        return await _broken_off(request, part, len(body))


async def _broken_off(request: web.Request, part: bytes, size: int) -> web.StreamResponse:
    """Fewer bytes than were announced, then the end of the connection."""
    answer = web.StreamResponse(headers={"Content-Length": str(size), "Content-Type": "application/json"})
    await answer.prepare(request)
    await answer.write(part)
    if request.transport is not None:
        request.transport.close()
    return answer


def _json(status: int, body: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=body.encode(), content_type="application/json", headers=headers)
