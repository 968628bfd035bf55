-- How far each instrument's minutes were held against the venue's own klines, and each minute that differed.
CREATE TABLE kline_checks (
    venue TEXT NOT NULL,
    symbol TEXT NOT NULL,
    checked_until BIGINT NOT NULL,
    checked BIGINT NOT NULL,
    unanswered BIGINT NOT NULL,
    PRIMARY KEY (venue, symbol)
);

-- Volumes are exact decimal texts; null where the venue doesn't tell. Revision 0: nothing of ours lies in the minute.
CREATE TABLE kline_differences (
    venue TEXT NOT NULL,
    symbol TEXT NOT NULL,
    minute BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    status TEXT NOT NULL,
    our_volume TEXT NOT NULL,
    our_buy_volume TEXT,
    our_trade_count BIGINT,
    their_volume TEXT NOT NULL,
    their_buy_volume TEXT,
    their_trade_count BIGINT,
    checked_ns BIGINT NOT NULL,
    resolved_ns BIGINT,
    PRIMARY KEY (venue, symbol, minute)
);

CREATE INDEX kline_differences_standing ON kline_differences (venue, symbol, minute) WHERE resolved_ns IS NULL;
