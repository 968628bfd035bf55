"""A picture, drawn when it is asked for: as png or svg by matplotlib, as one self-contained html by plotly."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from pipeline.errors import BadValue
from sinks import durable
from spillway.frames import NotInstalled
from spillway.plot.bars_view import BarsView
from spillway.plot.coverage_view import CoverageView
from spillway.plot.footprint_view import FootprintView

STILL, HTML = (".png", ".svg"), ".html"
ENDINGS = (*STILL, HTML)
_SIZES = range(200, 10_001)


@dataclass(frozen=True, slots=True)
class Picture:
    """What is shown, and how large, in pixels. In a notebook it shows itself. NotInstalled where a library is missing."""

    view: FootprintView | BarsView | CoverageView
    size: tuple[int, int] | None = field(default=None)

    def __post_init__(self) -> None:
        if self.size is not None and not all(side in _SIZES for side in self.size):
            raise BadValue(f"size {self.size}: expected a width and a height of {_SIZES[0]} to {_SIZES[-1]} pixels")

    def matplotlib(self) -> Any:
        """The picture as a matplotlib Figure."""
        with _module("still", "matplotlib").settings():
            figure = self._painter("still", "matplotlib").draw(*self._arguments())
            figure.draw_without_rendering()  # texts take their fonts from the settings that hold now
            return figure

    def plotly(self) -> Any:
        """The picture as a plotly Figure, to zoom and to hover over."""
        return self._painter("web", "plotly").draw(*self._arguments())

    def encoded(self, ending: str) -> bytes:
        """The bytes of a file with this ending: .png, .svg or .html. The same picture gives the same bytes."""
        if ending not in ENDINGS:
            raise BadValue(f"{ending!r}: expected a name that ends in {', '.join(ENDINGS)}")
        if ending == HTML:
            page: bytes = _module("web", "plotly").page(self.plotly(), self.view.title)
            return page
        still = _module("still", "matplotlib")
        with still.settings():
            data: bytes = still.encoded(self._painter("still", "matplotlib").draw(*self._arguments()), ending[1:])
        return data

    def save(self, path: str | Path) -> Path:
        """Writes the picture, as its name's ending says, whole or not at all. StorageError where it can't."""
        path = Path(path)
        durable.replace_durably(path, self.encoded(path.suffix.lower()))
        return path

    def _repr_png_(self) -> bytes:
        return self.encoded(".png")

    def _arguments(self) -> tuple[Any, ...]:
        return (self.view,) if self.size is None else (self.view, self.size)

    def _painter(self, how: str, library: str) -> Any:
        kinds: dict[type, str] = {FootprintView: "footprint", BarsView: "bars", CoverageView: "coverage"}
        return _module(f"{how}_{kinds[type(self.view)]}", library)


def _module(name: str, library: str) -> Any:
    """One of our painters; its library is imported only now, for who only reads doesn't need it."""
    try:
        return import_module(f"spillway.plot.{name}")
    except ImportError as error:
        if (error.name or "").partition(".")[0] != library:
            raise
        raise NotInstalled(f'{library} is not installed: pip install "spillway[plot]"') from None
