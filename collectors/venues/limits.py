"""What a venue allows its clients, and what it wants to hear from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class VenueLimits:
    """One venue's bounds, from its documentation; ours are somewhat stricter where others share the address."""

    symbols_per_connection: int
    page_size: int  # trades that one history request may give
    requests_per_s: float  # REST, all kinds together
    burst_s: float = 2.0  # after a pause so many seconds' requests may be made at once
    messages_per_s: float = 5.0  # what we may send on a websocket
    connects_per_s: float = 2.0
    banned: Mapping[int, float] = field(default_factory=dict)  # HTTP statuses that only ask to be left alone, for so many s
    lifetime_s: float = math.inf  # the venue cuts every connection at this age
    keepalive: bytes = b""  # what must be sent ...
    keepalive_s: float = math.inf  # ... so often
