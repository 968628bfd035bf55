"""A closed set of words: the base of the domain's enums."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NoReturn

from pipeline.errors import BadValue
from pipeline.trading.names import brief


class Choice(StrEnum):
    """A word out of a few; any other is refused by name with the list of those allowed."""

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        what = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", cls.__name__).lower()
        raise BadValue(f"{what} {brief(value)}: expected one of {', '.join(cls)}")
