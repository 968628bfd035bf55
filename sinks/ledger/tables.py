"""The ledger's tables as SQLAlchemy sees them. The migrations make them; a test holds that both agree."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, MetaData, String, Table

METADATA = MetaData()


def _text(name: str, *, null: bool = False, key: bool = False) -> Column[str]:
    return Column(name, String, nullable=null, primary_key=key)


def _number(name: str, *, null: bool = False, key: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=null, primary_key=key, autoincrement=False)


GAPS = Table(
    "gaps",
    METADATA,
    Column("gap_id", BigInteger, primary_key=True),
    _text("venue"),
    _text("symbol"),
    _text("kind"),
    _number("first_id", null=True),
    _number("last_id", null=True),
    _number("before_ns", null=True),
    _number("after_ns", null=True),
    _number("found_ns"),
    _text("state"),
    _number("ended_ns", null=True),
    _text("how"),
)

KLINE_CHECKS = Table(
    "kline_checks",
    METADATA,
    _text("venue", key=True),
    _text("symbol", key=True),
    _number("checked_until"),
    _number("checked"),
    _number("unanswered"),
)

KLINE_DIFFERENCES = Table(
    "kline_differences",
    METADATA,
    _text("venue", key=True),
    _text("symbol", key=True),
    _number("minute", key=True),
    _number("revision"),
    _text("status"),
    _text("our_volume"),
    _text("our_buy_volume", null=True),
    _number("our_trade_count", null=True),
    _text("their_volume"),
    _text("their_buy_volume", null=True),
    _number("their_trade_count", null=True),
    _number("checked_ns"),
    _number("resolved_ns", null=True),
)
