"""Which rows of a tape are of the symbol asked for. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection

from pipeline.errors import TapeError


def to_filter_by(head: Collection[str], all_of_it: Callable[[], Collection[str]], symbol: str, where: str) -> str | None:
    """The text that `symbol` has in a tape's symbol column; None where the tape has one symbol only, by whatever name.

    `head`: the texts in the tape's first rows. `all_of_it` reads the whole tape for them, so it is asked only if need be.
    """
    if found := _same(head, symbol):
        return found
    seen = {text for text in all_of_it() if text}
    found = _same(seen, symbol)
    if not found and len(seen) > 1:
        raise TapeError(f"{where}: it has trades of {', '.join(sorted(seen)[:10])}, but none of {symbol}")
    return found


def _same(texts: Collection[str], symbol: str) -> str | None:
    """Of several texts the one that means a symbol: the very same, else by letters and digits alone (XRP/ETH is XRPETH)."""
    if symbol in texts:
        return symbol
    return next((text for text in sorted(texts) if plain(text) == plain(symbol)), None)


def plain(symbol: str) -> str:
    """A symbol's letters and digits in upper case."""
    return "".join(filter(str.isalnum, symbol)).upper()
