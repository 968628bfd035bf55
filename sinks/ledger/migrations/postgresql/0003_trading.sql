-- What the trader's programs remember. Decimals are exact: NUMERIC.

-- The traders' accounts, and what is in them.
CREATE TABLE accounts (
    account_id TEXT NOT NULL,
    name TEXT NOT NULL,
    account_type TEXT NOT NULL CHECK (account_type IN ('paper', 'live')),
    active BOOLEAN NOT NULL,
    closed_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    version BIGINT NOT NULL CHECK (version >= 1),
    CHECK (closed_at IS NULL OR NOT active),
    PRIMARY KEY (account_id)
);

CREATE INDEX accounts_by_name ON accounts (name);
CREATE INDEX accounts_active ON accounts (active);

CREATE TABLE balances (
    account_id TEXT NOT NULL,
    currency TEXT NOT NULL,
    available NUMERIC NOT NULL CHECK (available <> 'NaN' AND available < 'Infinity' AND available > '-Infinity' AND available >= 0),
    locked NUMERIC NOT NULL CHECK (locked <> 'NaN' AND locked < 'Infinity' AND locked > '-Infinity' AND locked >= 0),
    PRIMARY KEY (account_id, currency),
    FOREIGN KEY (account_id) REFERENCES accounts (account_id) ON DELETE CASCADE
);

-- Every amount that came or went. Rows are only added.
CREATE TABLE transactions (
    transaction_id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    transaction_type TEXT NOT NULL CHECK (transaction_type IN ('deposit', 'withdrawal', 'buy', 'sell', 'fee', 'funding', 'interest', 'rebate', 'transfer_in', 'transfer_out', 'realized_pnl', 'adjustment', 'trade')),
    amount NUMERIC NOT NULL CHECK (amount <> 'NaN' AND amount < 'Infinity' AND amount > '-Infinity'),
    currency TEXT NOT NULL,
    description TEXT NOT NULL,
    reference TEXT,
    occurred_at TIMESTAMPTZ NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    CHECK (transaction_type IN ('funding', 'realized_pnl', 'adjustment', 'trade') OR amount > 0),
    PRIMARY KEY (transaction_id),
    FOREIGN KEY (account_id) REFERENCES accounts (account_id) ON DELETE CASCADE
);

CREATE INDEX transactions_by_time ON transactions (account_id, occurred_at);
CREATE INDEX transactions_by_type ON transactions (account_id, transaction_type, currency, occurred_at);

-- What trades, by which rules.
CREATE TABLE strategies (
    strategy_id TEXT NOT NULL,
    name TEXT NOT NULL,
    strategy_type TEXT NOT NULL CHECK (strategy_type IN ('market_making', 'trend_following', 'mean_reversion', 'arbitrage', 'momentum', 'custom')),
    status TEXT NOT NULL CHECK (status IN ('inactive', 'active', 'paused', 'stopped', 'error')),
    parameters TEXT NOT NULL,
    instruments TEXT NOT NULL,
    max_position_size NUMERIC CHECK (max_position_size <> 'NaN' AND max_position_size < 'Infinity' AND max_position_size > '-Infinity' AND max_position_size > 0),
    max_daily_loss NUMERIC CHECK (max_daily_loss <> 'NaN' AND max_daily_loss < 'Infinity' AND max_daily_loss > '-Infinity' AND max_daily_loss > 0),
    max_leverage NUMERIC CHECK (max_leverage <> 'NaN' AND max_leverage < 'Infinity' AND max_leverage > '-Infinity' AND max_leverage > 0),
    total_pnl NUMERIC NOT NULL CHECK (total_pnl <> 'NaN' AND total_pnl < 'Infinity' AND total_pnl > '-Infinity'),
    daily_pnl NUMERIC NOT NULL CHECK (daily_pnl <> 'NaN' AND daily_pnl < 'Infinity' AND daily_pnl > '-Infinity'),
    total_trades BIGINT NOT NULL CHECK (total_trades >= 0),
    error_message TEXT,
    started_at TIMESTAMPTZ,
    stopped_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    version BIGINT NOT NULL CHECK (version >= 1),
    PRIMARY KEY (strategy_id)
);

CREATE INDEX strategies_by_status ON strategies (status);
CREATE INDEX strategies_by_type ON strategies (strategy_type);
CREATE INDEX strategies_by_time ON strategies (created_at);

-- What the programs wait for.
CREATE TABLE conditions (
    condition_id TEXT NOT NULL,
    symbol TEXT NOT NULL,
    condition_type TEXT NOT NULL CHECK (condition_type IN ('price', 'volume', 'delta', 'indicator', 'time', 'custom')),
    comparison TEXT CHECK (comparison IN ('above', 'at_or_above', 'below', 'at_or_below', 'crosses_above', 'crosses_below')),
    value NUMERIC CHECK (value <> 'NaN' AND value < 'Infinity' AND value > '-Infinity'),
    action TEXT NOT NULL,
    parameters TEXT NOT NULL,
    strategy_id TEXT,
    status TEXT NOT NULL CHECK (status IN ('active', 'triggered', 'paused', 'expired', 'cancelled')),
    expires_at TIMESTAMPTZ,
    triggered_at TIMESTAMPTZ,
    triggered_value NUMERIC CHECK (triggered_value <> 'NaN' AND triggered_value < 'Infinity' AND triggered_value > '-Infinity'),
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    version BIGINT NOT NULL CHECK (version >= 1),
    CHECK ((comparison IS NULL) = (value IS NULL)),
    PRIMARY KEY (condition_id),
    FOREIGN KEY (strategy_id) REFERENCES strategies (strategy_id) ON DELETE RESTRICT
);

CREATE INDEX conditions_by_symbol ON conditions (symbol, status);
CREATE INDEX conditions_by_status ON conditions (status, expires_at);
CREATE INDEX conditions_by_time ON conditions (created_at);
CREATE INDEX conditions_by_strategy ON conditions (strategy_id);

-- What was decided, whole in `document`, and which minutes it was made from.
CREATE TABLE decisions (
    decision_id TEXT NOT NULL,
    timestamp TIMESTAMPTZ NOT NULL,
    asset_pair TEXT,
    action TEXT,
    document TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    version BIGINT NOT NULL CHECK (version >= 1),
    PRIMARY KEY (decision_id)
);

CREATE INDEX decisions_by_pair ON decisions (asset_pair, timestamp);
CREATE INDEX decisions_by_time ON decisions (timestamp);

CREATE TABLE decision_minutes (
    decision_id TEXT NOT NULL,
    venue TEXT NOT NULL,
    symbol TEXT NOT NULL,
    minute BIGINT NOT NULL CHECK (minute >= 0),
    revision BIGINT NOT NULL CHECK (revision >= 1),
    checksum TEXT NOT NULL,
    PRIMARY KEY (decision_id, venue, symbol, minute),
    FOREIGN KEY (decision_id) REFERENCES decisions (decision_id) ON DELETE CASCADE
);

CREATE INDEX decision_minutes_by_minute ON decision_minutes (venue, symbol, minute);

-- Orders, paper and live.
CREATE TABLE orders (
    order_id TEXT NOT NULL,
    symbol TEXT NOT NULL,
    side TEXT NOT NULL CHECK (side IN ('buy', 'sell')),
    order_type TEXT NOT NULL CHECK (order_type IN ('market', 'limit', 'stop', 'stop_limit')),
    quantity NUMERIC NOT NULL CHECK (quantity <> 'NaN' AND quantity < 'Infinity' AND quantity > '-Infinity' AND quantity > 0),
    price NUMERIC CHECK (price <> 'NaN' AND price < 'Infinity' AND price > '-Infinity' AND price > 0),
    stop_price NUMERIC CHECK (stop_price <> 'NaN' AND stop_price < 'Infinity' AND stop_price > '-Infinity' AND stop_price > 0),
    account_id TEXT,
    strategy_id TEXT,
    status TEXT NOT NULL CHECK (status IN ('pending', 'submitted', 'accepted', 'partially_filled', 'filled', 'cancelled', 'rejected', 'expired')),
    time_in_force TEXT NOT NULL CHECK (time_in_force IN ('gtc', 'ioc', 'fok', 'day')),
    filled_quantity NUMERIC NOT NULL CHECK (filled_quantity <> 'NaN' AND filled_quantity < 'Infinity' AND filled_quantity > '-Infinity' AND filled_quantity >= 0),
    average_fill_price NUMERIC CHECK (average_fill_price <> 'NaN' AND average_fill_price < 'Infinity' AND average_fill_price > '-Infinity' AND average_fill_price > 0),
    commission NUMERIC NOT NULL CHECK (commission <> 'NaN' AND commission < 'Infinity' AND commission > '-Infinity'),
    realized_pnl NUMERIC CHECK (realized_pnl <> 'NaN' AND realized_pnl < 'Infinity' AND realized_pnl > '-Infinity'),
    exchange_order_id TEXT,
    execution_venue TEXT,
    error_message TEXT,
    submitted_at TIMESTAMPTZ,
    accepted_at TIMESTAMPTZ,
    filled_at TIMESTAMPTZ,
    cancelled_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    version BIGINT NOT NULL CHECK (version >= 1),
    CHECK ((price IS NOT NULL) = (order_type IN ('limit', 'stop_limit'))),
    CHECK ((stop_price IS NOT NULL) = (order_type IN ('stop', 'stop_limit'))),
    CHECK ((average_fill_price IS NULL) = (filled_quantity = 0)),
    CHECK ((status = 'filled') = (filled_quantity = quantity)),
    CHECK (filled_quantity <= quantity),
    CHECK (filled_quantity = 0 OR status NOT IN ('pending', 'submitted', 'accepted', 'rejected')),
    CHECK (filled_quantity <> 0 OR status <> 'partially_filled'),
    PRIMARY KEY (order_id),
    FOREIGN KEY (account_id) REFERENCES accounts (account_id) ON DELETE CASCADE,
    FOREIGN KEY (strategy_id) REFERENCES strategies (strategy_id) ON DELETE RESTRICT
);

CREATE INDEX orders_by_account ON orders (account_id, status, created_at);
CREATE INDEX orders_by_account_time ON orders (account_id, created_at);
CREATE INDEX orders_by_symbol ON orders (symbol, created_at);
CREATE INDEX orders_by_strategy ON orders (strategy_id, status, created_at);
CREATE INDEX orders_by_status ON orders (status, created_at);
CREATE INDEX orders_by_time ON orders (created_at);
CREATE INDEX orders_by_exchange_id ON orders (exchange_order_id);

-- What was executed of them. Rows are only added.
CREATE TABLE trades (
    trade_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    symbol TEXT NOT NULL,
    side TEXT NOT NULL CHECK (side IN ('buy', 'sell')),
    quantity NUMERIC NOT NULL CHECK (quantity <> 'NaN' AND quantity < 'Infinity' AND quantity > '-Infinity' AND quantity > 0),
    price NUMERIC NOT NULL CHECK (price <> 'NaN' AND price < 'Infinity' AND price > '-Infinity' AND price > 0),
    strategy_id TEXT,
    account_id TEXT,
    commission NUMERIC NOT NULL CHECK (commission <> 'NaN' AND commission < 'Infinity' AND commission > '-Infinity'),
    commission_currency TEXT,
    realized_pnl NUMERIC CHECK (realized_pnl <> 'NaN' AND realized_pnl < 'Infinity' AND realized_pnl > '-Infinity'),
    exchange_trade_id TEXT,
    execution_venue TEXT,
    liquidity TEXT CHECK (liquidity IN ('maker', 'taker')),
    executed_at TIMESTAMPTZ NOT NULL,
    notes TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (trade_id),
    FOREIGN KEY (order_id) REFERENCES orders (order_id) ON DELETE CASCADE,
    FOREIGN KEY (account_id) REFERENCES accounts (account_id) ON DELETE CASCADE,
    FOREIGN KEY (strategy_id) REFERENCES strategies (strategy_id) ON DELETE RESTRICT
);

CREATE INDEX trades_by_order ON trades (order_id);
CREATE INDEX trades_by_strategy ON trades (strategy_id, executed_at);
CREATE INDEX trades_by_symbol ON trades (symbol, executed_at);
CREATE INDEX trades_by_account ON trades (account_id, executed_at);
CREATE INDEX trades_by_time ON trades (executed_at);
CREATE INDEX trades_by_exchange_id ON trades (exchange_trade_id);

-- What is held: quantity above 0 is long, below 0 short.
CREATE TABLE positions (
    position_id TEXT NOT NULL,
    symbol TEXT NOT NULL,
    strategy_id TEXT,
    account_id TEXT,
    quantity NUMERIC NOT NULL CHECK (quantity <> 'NaN' AND quantity < 'Infinity' AND quantity > '-Infinity'),
    average_entry_price NUMERIC NOT NULL CHECK (average_entry_price <> 'NaN' AND average_entry_price < 'Infinity' AND average_entry_price > '-Infinity' AND average_entry_price >= 0),
    current_price NUMERIC CHECK (current_price <> 'NaN' AND current_price < 'Infinity' AND current_price > '-Infinity' AND current_price > 0),
    realized_pnl NUMERIC NOT NULL CHECK (realized_pnl <> 'NaN' AND realized_pnl < 'Infinity' AND realized_pnl > '-Infinity'),
    commission NUMERIC NOT NULL CHECK (commission <> 'NaN' AND commission < 'Infinity' AND commission > '-Infinity'),
    opened_at TIMESTAMPTZ,
    closed_at TIMESTAMPTZ,
    notes TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    version BIGINT NOT NULL CHECK (version >= 1),
    CHECK ((quantity = 0) = (average_entry_price = 0)),
    CHECK (closed_at IS NULL OR quantity = 0),
    PRIMARY KEY (position_id),
    FOREIGN KEY (account_id) REFERENCES accounts (account_id) ON DELETE CASCADE,
    FOREIGN KEY (strategy_id) REFERENCES strategies (strategy_id) ON DELETE RESTRICT
);

CREATE INDEX positions_by_strategy ON positions (strategy_id, symbol);
CREATE INDEX positions_by_symbol ON positions (symbol);
CREATE INDEX positions_by_account ON positions (account_id);
CREATE INDEX positions_by_time ON positions (created_at);
CREATE INDEX positions_open ON positions (created_at) WHERE closed_at IS NULL;

-- How each account did, a row a day.
CREATE TABLE performance_metrics (
    account_id TEXT NOT NULL,
    date DATE NOT NULL,
    total_value_usd NUMERIC NOT NULL CHECK (total_value_usd <> 'NaN' AND total_value_usd < 'Infinity' AND total_value_usd > '-Infinity'),
    pnl_daily NUMERIC NOT NULL CHECK (pnl_daily <> 'NaN' AND pnl_daily < 'Infinity' AND pnl_daily > '-Infinity'),
    pnl_total NUMERIC NOT NULL CHECK (pnl_total <> 'NaN' AND pnl_total < 'Infinity' AND pnl_total > '-Infinity'),
    sharpe_ratio NUMERIC CHECK (sharpe_ratio <> 'NaN' AND sharpe_ratio < 'Infinity' AND sharpe_ratio > '-Infinity'),
    sortino_ratio NUMERIC CHECK (sortino_ratio <> 'NaN' AND sortino_ratio < 'Infinity' AND sortino_ratio > '-Infinity'),
    max_drawdown NUMERIC CHECK (max_drawdown <> 'NaN' AND max_drawdown < 'Infinity' AND max_drawdown > '-Infinity' AND max_drawdown <= 0),
    win_rate NUMERIC CHECK (win_rate <> 'NaN' AND win_rate < 'Infinity' AND win_rate > '-Infinity' AND win_rate BETWEEN 0 AND 1),
    profit_factor NUMERIC CHECK (profit_factor <> 'NaN' AND profit_factor < 'Infinity' AND profit_factor > '-Infinity' AND profit_factor >= 0),
    trades_count BIGINT NOT NULL CHECK (trades_count >= 0),
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (account_id, date),
    FOREIGN KEY (account_id) REFERENCES accounts (account_id) ON DELETE CASCADE
);

-- What of conditions and orders changed, in this order, for the programs that act on it.
CREATE TABLE changes (
    change_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    entity TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    version BIGINT NOT NULL,
    change TEXT NOT NULL CHECK (change IN ('created', 'updated', 'deleted')),
    changed_at TIMESTAMPTZ NOT NULL
);

CREATE INDEX changes_by_time ON changes (changed_at);

-- A program that changes a row and says nothing of its version or the time: then it is the next one, and now, so that who
-- read the row before is told that it was changed.
CREATE FUNCTION set_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.updated_at IS NOT DISTINCT FROM OLD.updated_at THEN
        NEW.updated_at = clock_timestamp();
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION set_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.version = OLD.version THEN
        NEW.version = OLD.version + 1;
        IF NEW.updated_at IS NOT DISTINCT FROM OLD.updated_at THEN
            NEW.updated_at = clock_timestamp();
        END IF;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER accounts_updated BEFORE UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION set_version();

CREATE TRIGGER strategies_updated BEFORE UPDATE ON strategies FOR EACH ROW EXECUTE FUNCTION set_version();

CREATE TRIGGER conditions_updated BEFORE UPDATE ON conditions FOR EACH ROW EXECUTE FUNCTION set_version();

CREATE TRIGGER decisions_updated BEFORE UPDATE ON decisions FOR EACH ROW EXECUTE FUNCTION set_version();

CREATE TRIGGER orders_updated BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION set_version();

CREATE TRIGGER positions_updated BEFORE UPDATE ON positions FOR EACH ROW EXECUTE FUNCTION set_version();

CREATE TRIGGER performance_metrics_updated BEFORE UPDATE ON performance_metrics FOR EACH ROW EXECUTE FUNCTION set_updated_at();

-- Numbers are given in the order of commits: who writes them holds the lock that our writers take turns by.
CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    entity_row jsonb := to_jsonb(CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END);
    what text := CASE TG_OP WHEN 'INSERT' THEN 'created' WHEN 'UPDATE' THEN 'updated' ELSE 'deleted' END;
BEGIN
    PERFORM pg_advisory_xact_lock(357829266508);
    INSERT INTO changes (entity, entity_id, version, change, changed_at)
    VALUES (TG_ARGV[0], entity_row ->> TG_ARGV[1], (entity_row ->> 'version')::bigint, what, clock_timestamp());
    PERFORM pg_notify('trading_changes', TG_ARGV[0]);
    RETURN NULL;
END
$$;

CREATE TRIGGER condition_changed AFTER INSERT OR UPDATE OR DELETE ON conditions FOR EACH ROW EXECUTE FUNCTION note_change('condition', 'condition_id');

CREATE TRIGGER order_changed AFTER INSERT OR UPDATE OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION note_change('order', 'order_id');

-- What a monitor asks: which version of the schema, and how much is in it.
CREATE FUNCTION health_check() RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'healthy', true,
        'schema_version', (SELECT max(version) FROM trading.schema_migrations),
        'strategies', (SELECT count(*) FROM trading.strategies),
        'open_orders', (SELECT count(*) FROM trading.orders
                        WHERE status IN ('pending', 'submitted', 'accepted', 'partially_filled')),
        'positions', (SELECT count(*) FROM trading.positions WHERE quantity <> 0),
        'checked_at', now()
    )
$$;
