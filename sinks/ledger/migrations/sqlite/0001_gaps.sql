-- What was never seen, and what became of it. An instrument's rows of trade ids never overlap: each id stands in one of them.
CREATE TABLE gaps (
    gap_id INTEGER NOT NULL PRIMARY KEY,
    venue TEXT NOT NULL,
    symbol TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('ids', 'outage')),
    first_id INTEGER,
    last_id INTEGER,
    before_ns INTEGER,
    after_ns INTEGER,
    found_ns INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'repaired', 'lost')),
    ended_ns INTEGER,
    how TEXT NOT NULL DEFAULT '',
    CHECK (last_id >= first_id),
    CHECK (kind = 'outage' OR (first_id IS NOT NULL AND last_id IS NOT NULL)),
    CHECK (kind = 'ids' OR (before_ns IS NOT NULL AND after_ns IS NOT NULL)),
    CHECK ((state = 'open') = (ended_ns IS NULL))
) STRICT;

CREATE UNIQUE INDEX gaps_by_ids ON gaps (venue, symbol, first_id) WHERE kind = 'ids';
CREATE UNIQUE INDEX gaps_by_outage ON gaps (venue, symbol, before_ns) WHERE kind = 'outage';
CREATE INDEX gaps_by_state ON gaps (venue, symbol, state);
CREATE INDEX gaps_by_time ON gaps (found_ns);
