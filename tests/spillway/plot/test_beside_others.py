"""Pictures in a notebook where others draw too: nothing of the user's own matplotlib changes."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib as mpl
import pytest

from spillway import plot
from tests.spillway.plot.frames import BAR, levels, minutes


@pytest.fixture
def users_own() -> Iterator[None]:
    """A backend and a font that aren't ours."""
    with mpl.rc_context({"font.size": 17}):
        before = mpl.get_backend()
        mpl.use("svg")
        yield
        mpl.use(before)


@pytest.mark.parametrize("ending", [".png", ".svg"])
def test_drawing_leaves_the_users_backend_and_settings_as_they_are(ending: str, users_own: None) -> None:
    plot.footprint(levels(BAR), minutes("complete")).encoded(ending)
    assert (mpl.get_backend(), mpl.rcParams["font.size"]) == ("svg", 17)
