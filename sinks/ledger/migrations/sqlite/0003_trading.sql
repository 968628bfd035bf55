-- What the trader's programs remember. Decimals are exact: plain text here, summed by a function of ours.

-- The traders' accounts, and what is in them.
CREATE TABLE accounts (
    account_id TEXT NOT NULL,
    name TEXT NOT NULL,
    account_type TEXT NOT NULL CHECK (account_type IN ('paper', 'live')),
    active INTEGER NOT NULL CHECK (active IN (0, 1)),
    closed_at TEXT CHECK (length(closed_at) = 27),
    created_at TEXT NOT NULL CHECK (length(created_at) = 27),
    updated_at TEXT NOT NULL CHECK (length(updated_at) = 27),
    version INTEGER NOT NULL CHECK (version >= 1),
    CHECK (closed_at IS NULL OR NOT active),
    PRIMARY KEY (account_id)
) STRICT;

CREATE INDEX accounts_by_name ON accounts (name);
CREATE INDEX accounts_active ON accounts (active);

CREATE TABLE balances (
    account_id TEXT NOT NULL,
    currency TEXT NOT NULL,
    available TEXT NOT NULL CHECK (available <> '' AND available NOT GLOB '*[^0-9.-]*' AND CAST(available AS REAL) >= 0),
    locked TEXT NOT NULL CHECK (locked <> '' AND locked NOT GLOB '*[^0-9.-]*' AND CAST(locked AS REAL) >= 0),
    PRIMARY KEY (account_id, currency),
    FOREIGN KEY (account_id) REFERENCES accounts (account_id) ON DELETE CASCADE
) STRICT;

-- Every amount that came or went. Rows are only added.
-- Not `IN (...)`, here and for orders and trades: SQLite makes a table of its words for each row, which halves the rate.
CREATE TABLE transactions (
    transaction_id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    transaction_type TEXT NOT NULL CHECK (transaction_type = 'deposit' OR transaction_type = 'withdrawal' OR transaction_type = 'buy' OR transaction_type = 'sell' OR transaction_type = 'fee' OR transaction_type = 'funding' OR transaction_type = 'interest' OR transaction_type = 'rebate' OR transaction_type = 'transfer_in' OR transaction_type = 'transfer_out' OR transaction_type = 'realized_pnl' OR transaction_type = 'adjustment' OR transaction_type = 'trade'),
    amount TEXT NOT NULL CHECK (amount <> '' AND amount NOT GLOB '*[^0-9.-]*'),
    currency TEXT NOT NULL,
    description TEXT NOT NULL,
    reference TEXT,
    occurred_at TEXT NOT NULL CHECK (length(occurred_at) = 27),
    created_at TEXT NOT NULL CHECK (length(created_at) = 27),
    CHECK (
        CAST(amount AS REAL) > 0 OR transaction_type = 'funding' OR transaction_type = 'realized_pnl'
        OR transaction_type = 'adjustment' OR transaction_type = 'trade'
    ),
    PRIMARY KEY (transaction_id),
    FOREIGN KEY (account_id) REFERENCES accounts (account_id) ON DELETE CASCADE
) STRICT;

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
    max_position_size TEXT CHECK (max_position_size <> '' AND max_position_size NOT GLOB '*[^0-9.-]*' AND CAST(max_position_size AS REAL) > 0),
    max_daily_loss TEXT CHECK (max_daily_loss <> '' AND max_daily_loss NOT GLOB '*[^0-9.-]*' AND CAST(max_daily_loss AS REAL) > 0),
    max_leverage TEXT CHECK (max_leverage <> '' AND max_leverage NOT GLOB '*[^0-9.-]*' AND CAST(max_leverage AS REAL) > 0),
    total_pnl TEXT NOT NULL CHECK (total_pnl <> '' AND total_pnl NOT GLOB '*[^0-9.-]*'),
    daily_pnl TEXT NOT NULL CHECK (daily_pnl <> '' AND daily_pnl NOT GLOB '*[^0-9.-]*'),
    total_trades INTEGER NOT NULL CHECK (total_trades >= 0),
    error_message TEXT,
    started_at TEXT CHECK (length(started_at) = 27),
    stopped_at TEXT CHECK (length(stopped_at) = 27),
    created_at TEXT NOT NULL CHECK (length(created_at) = 27),
    updated_at TEXT NOT NULL CHECK (length(updated_at) = 27),
    version INTEGER NOT NULL CHECK (version >= 1),
    PRIMARY KEY (strategy_id)
) STRICT;

CREATE INDEX strategies_by_status ON strategies (status);
CREATE INDEX strategies_by_type ON strategies (strategy_type);
CREATE INDEX strategies_by_time ON strategies (created_at);

-- What the programs wait for.
CREATE TABLE conditions (
    condition_id TEXT NOT NULL,
    symbol TEXT NOT NULL,
    condition_type TEXT NOT NULL CHECK (condition_type IN ('price', 'volume', 'delta', 'indicator', 'time', 'custom')),
    comparison TEXT CHECK (comparison IN ('above', 'at_or_above', 'below', 'at_or_below', 'crosses_above', 'crosses_below')),
    value TEXT CHECK (value <> '' AND value NOT GLOB '*[^0-9.-]*'),
    action TEXT NOT NULL,
    parameters TEXT NOT NULL,
    strategy_id TEXT,
    status TEXT NOT NULL CHECK (status IN ('active', 'triggered', 'paused', 'expired', 'cancelled')),
    expires_at TEXT CHECK (length(expires_at) = 27),
    triggered_at TEXT CHECK (length(triggered_at) = 27),
    triggered_value TEXT CHECK (triggered_value <> '' AND triggered_value NOT GLOB '*[^0-9.-]*'),
    created_at TEXT NOT NULL CHECK (length(created_at) = 27),
    updated_at TEXT NOT NULL CHECK (length(updated_at) = 27),
    version INTEGER NOT NULL CHECK (version >= 1),
    CHECK ((comparison IS NULL) = (value IS NULL)),
    PRIMARY KEY (condition_id),
    FOREIGN KEY (strategy_id) REFERENCES strategies (strategy_id) ON DELETE RESTRICT
) STRICT;

CREATE INDEX conditions_by_symbol ON conditions (symbol, status);
CREATE INDEX conditions_by_status ON conditions (status, expires_at);
CREATE INDEX conditions_by_time ON conditions (created_at);
CREATE INDEX conditions_by_strategy ON conditions (strategy_id);

-- What was decided, whole in `document`, and which minutes it was made from.
CREATE TABLE decisions (
    decision_id TEXT NOT NULL,
    timestamp TEXT NOT NULL CHECK (length(timestamp) = 27),
    asset_pair TEXT,
    action TEXT,
    document TEXT NOT NULL,
    created_at TEXT NOT NULL CHECK (length(created_at) = 27),
    updated_at TEXT NOT NULL CHECK (length(updated_at) = 27),
    version INTEGER NOT NULL CHECK (version >= 1),
    PRIMARY KEY (decision_id)
) STRICT;

CREATE INDEX decisions_by_pair ON decisions (asset_pair, timestamp);
CREATE INDEX decisions_by_time ON decisions (timestamp);

CREATE TABLE decision_minutes (
    decision_id TEXT NOT NULL,
    venue TEXT NOT NULL,
    symbol TEXT NOT NULL,
    minute INTEGER NOT NULL CHECK (minute >= 0),
    revision INTEGER NOT NULL CHECK (revision >= 1),
    checksum TEXT NOT NULL,
    PRIMARY KEY (decision_id, venue, symbol, minute),
    FOREIGN KEY (decision_id) REFERENCES decisions (decision_id) ON DELETE CASCADE
) STRICT;

CREATE INDEX decision_minutes_by_minute ON decision_minutes (venue, symbol, minute);

-- Orders, paper and live.
CREATE TABLE orders (
    order_id TEXT NOT NULL,
    symbol TEXT NOT NULL,
    side TEXT NOT NULL CHECK (side = 'buy' OR side = 'sell'),
    order_type TEXT NOT NULL CHECK (order_type = 'market' OR order_type = 'limit' OR order_type = 'stop' OR order_type = 'stop_limit'),
    quantity TEXT NOT NULL CHECK (quantity <> '' AND quantity NOT GLOB '*[^0-9.-]*' AND CAST(quantity AS REAL) > 0),
    price TEXT CHECK (price <> '' AND price NOT GLOB '*[^0-9.-]*' AND CAST(price AS REAL) > 0),
    stop_price TEXT CHECK (stop_price <> '' AND stop_price NOT GLOB '*[^0-9.-]*' AND CAST(stop_price AS REAL) > 0),
    account_id TEXT,
    strategy_id TEXT,
    status TEXT NOT NULL CHECK (status = 'pending' OR status = 'submitted' OR status = 'accepted' OR status = 'partially_filled' OR status = 'filled' OR status = 'cancelled' OR status = 'rejected' OR status = 'expired'),
    time_in_force TEXT NOT NULL CHECK (time_in_force = 'gtc' OR time_in_force = 'ioc' OR time_in_force = 'fok' OR time_in_force = 'day'),
    filled_quantity TEXT NOT NULL CHECK (filled_quantity <> '' AND filled_quantity NOT GLOB '*[^0-9.-]*' AND CAST(filled_quantity AS REAL) >= 0),
    average_fill_price TEXT CHECK (average_fill_price <> '' AND average_fill_price NOT GLOB '*[^0-9.-]*' AND CAST(average_fill_price AS REAL) > 0),
    commission TEXT NOT NULL CHECK (commission <> '' AND commission NOT GLOB '*[^0-9.-]*'),
    realized_pnl TEXT CHECK (realized_pnl <> '' AND realized_pnl NOT GLOB '*[^0-9.-]*'),
    exchange_order_id TEXT,
    execution_venue TEXT,
    error_message TEXT,
    submitted_at TEXT CHECK (length(submitted_at) = 27),
    accepted_at TEXT CHECK (length(accepted_at) = 27),
    filled_at TEXT CHECK (length(filled_at) = 27),
    cancelled_at TEXT CHECK (length(cancelled_at) = 27),
    created_at TEXT NOT NULL CHECK (length(created_at) = 27),
    updated_at TEXT NOT NULL CHECK (length(updated_at) = 27),
    version INTEGER NOT NULL CHECK (version >= 1),
    CHECK ((price IS NOT NULL) = (order_type = 'limit' OR order_type = 'stop_limit')),
    CHECK ((stop_price IS NOT NULL) = (order_type = 'stop' OR order_type = 'stop_limit')),
    CHECK ((average_fill_price IS NULL) = (filled_quantity = '0')),
    CHECK ((status = 'filled') = (filled_quantity = quantity)),
    CHECK (CAST(filled_quantity AS REAL) <= CAST(quantity AS REAL)),
    CHECK (filled_quantity = '0' OR NOT (status = 'pending' OR status = 'submitted' OR status = 'accepted' OR status = 'rejected')),
    CHECK (filled_quantity <> '0' OR status <> 'partially_filled'),
    PRIMARY KEY (order_id),
    FOREIGN KEY (account_id) REFERENCES accounts (account_id) ON DELETE CASCADE,
    FOREIGN KEY (strategy_id) REFERENCES strategies (strategy_id) ON DELETE RESTRICT
) STRICT;

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
    side TEXT NOT NULL CHECK (side = 'buy' OR side = 'sell'),
    quantity TEXT NOT NULL CHECK (quantity <> '' AND quantity NOT GLOB '*[^0-9.-]*' AND CAST(quantity AS REAL) > 0),
    price TEXT NOT NULL CHECK (price <> '' AND price NOT GLOB '*[^0-9.-]*' AND CAST(price AS REAL) > 0),
    strategy_id TEXT,
    account_id TEXT,
    commission TEXT NOT NULL CHECK (commission <> '' AND commission NOT GLOB '*[^0-9.-]*'),
    commission_currency TEXT,
    realized_pnl TEXT CHECK (realized_pnl <> '' AND realized_pnl NOT GLOB '*[^0-9.-]*'),
    exchange_trade_id TEXT,
    execution_venue TEXT,
    liquidity TEXT CHECK (liquidity = 'maker' OR liquidity = 'taker'),
    executed_at TEXT NOT NULL CHECK (length(executed_at) = 27),
    notes TEXT,
    created_at TEXT NOT NULL CHECK (length(created_at) = 27),
    PRIMARY KEY (trade_id),
    FOREIGN KEY (order_id) REFERENCES orders (order_id) ON DELETE CASCADE,
    FOREIGN KEY (account_id) REFERENCES accounts (account_id) ON DELETE CASCADE,
    FOREIGN KEY (strategy_id) REFERENCES strategies (strategy_id) ON DELETE RESTRICT
) STRICT;

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
    quantity TEXT NOT NULL CHECK (quantity <> '' AND quantity NOT GLOB '*[^0-9.-]*'),
    average_entry_price TEXT NOT NULL CHECK (average_entry_price <> '' AND average_entry_price NOT GLOB '*[^0-9.-]*' AND CAST(average_entry_price AS REAL) >= 0),
    current_price TEXT CHECK (current_price <> '' AND current_price NOT GLOB '*[^0-9.-]*' AND CAST(current_price AS REAL) > 0),
    realized_pnl TEXT NOT NULL CHECK (realized_pnl <> '' AND realized_pnl NOT GLOB '*[^0-9.-]*'),
    commission TEXT NOT NULL CHECK (commission <> '' AND commission NOT GLOB '*[^0-9.-]*'),
    opened_at TEXT CHECK (length(opened_at) = 27),
    closed_at TEXT CHECK (length(closed_at) = 27),
    notes TEXT,
    created_at TEXT NOT NULL CHECK (length(created_at) = 27),
    updated_at TEXT NOT NULL CHECK (length(updated_at) = 27),
    version INTEGER NOT NULL CHECK (version >= 1),
    CHECK ((quantity = '0') = (average_entry_price = '0')),
    CHECK (closed_at IS NULL OR quantity = '0'),
    PRIMARY KEY (position_id),
    FOREIGN KEY (account_id) REFERENCES accounts (account_id) ON DELETE CASCADE,
    FOREIGN KEY (strategy_id) REFERENCES strategies (strategy_id) ON DELETE RESTRICT
) STRICT;

CREATE INDEX positions_by_strategy ON positions (strategy_id, symbol);
CREATE INDEX positions_by_symbol ON positions (symbol);
CREATE INDEX positions_by_account ON positions (account_id);
CREATE INDEX positions_by_time ON positions (created_at);
CREATE INDEX positions_open ON positions (created_at) WHERE closed_at IS NULL;

-- How each account did, a row a day.
CREATE TABLE performance_metrics (
    account_id TEXT NOT NULL,
    date TEXT NOT NULL CHECK (date GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]'),
    total_value_usd TEXT NOT NULL CHECK (total_value_usd <> '' AND total_value_usd NOT GLOB '*[^0-9.-]*'),
    pnl_daily TEXT NOT NULL CHECK (pnl_daily <> '' AND pnl_daily NOT GLOB '*[^0-9.-]*'),
    pnl_total TEXT NOT NULL CHECK (pnl_total <> '' AND pnl_total NOT GLOB '*[^0-9.-]*'),
    sharpe_ratio TEXT CHECK (sharpe_ratio <> '' AND sharpe_ratio NOT GLOB '*[^0-9.-]*'),
    sortino_ratio TEXT CHECK (sortino_ratio <> '' AND sortino_ratio NOT GLOB '*[^0-9.-]*'),
    max_drawdown TEXT CHECK (max_drawdown <> '' AND max_drawdown NOT GLOB '*[^0-9.-]*' AND CAST(max_drawdown AS REAL) <= 0),
    win_rate TEXT CHECK (win_rate <> '' AND win_rate NOT GLOB '*[^0-9.-]*' AND CAST(win_rate AS REAL) BETWEEN 0 AND 1),
    profit_factor TEXT CHECK (profit_factor <> '' AND profit_factor NOT GLOB '*[^0-9.-]*' AND CAST(profit_factor AS REAL) >= 0),
    trades_count INTEGER NOT NULL CHECK (trades_count >= 0),
    created_at TEXT NOT NULL CHECK (length(created_at) = 27),
    updated_at TEXT NOT NULL CHECK (length(updated_at) = 27),
    PRIMARY KEY (account_id, date),
    FOREIGN KEY (account_id) REFERENCES accounts (account_id) ON DELETE CASCADE
) STRICT;

-- What of conditions and orders changed, in this order, for the programs that act on it.
CREATE TABLE changes (
    change_id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    entity TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    change TEXT NOT NULL CHECK (change IN ('created', 'updated', 'deleted')),
    changed_at TEXT NOT NULL
) STRICT;

CREATE INDEX changes_by_time ON changes (changed_at);

-- A program that changes a row and says nothing of its version or the time: then it is the next one, and now, so that who
-- read the row before is told that it was changed.
CREATE TRIGGER accounts_updated AFTER UPDATE ON accounts WHEN NEW.version IS OLD.version BEGIN
    UPDATE accounts SET
        version = OLD.version + 1,
        updated_at = CASE WHEN NEW.updated_at IS OLD.updated_at THEN strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z' ELSE NEW.updated_at END
    WHERE account_id = NEW.account_id;
END;

CREATE TRIGGER strategies_updated AFTER UPDATE ON strategies WHEN NEW.version IS OLD.version BEGIN
    UPDATE strategies SET
        version = OLD.version + 1,
        updated_at = CASE WHEN NEW.updated_at IS OLD.updated_at THEN strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z' ELSE NEW.updated_at END
    WHERE strategy_id = NEW.strategy_id;
END;

CREATE TRIGGER conditions_updated AFTER UPDATE ON conditions WHEN NEW.version IS OLD.version BEGIN
    UPDATE conditions SET
        version = OLD.version + 1,
        updated_at = CASE WHEN NEW.updated_at IS OLD.updated_at THEN strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z' ELSE NEW.updated_at END
    WHERE condition_id = NEW.condition_id;
END;

CREATE TRIGGER decisions_updated AFTER UPDATE ON decisions WHEN NEW.version IS OLD.version BEGIN
    UPDATE decisions SET
        version = OLD.version + 1,
        updated_at = CASE WHEN NEW.updated_at IS OLD.updated_at THEN strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z' ELSE NEW.updated_at END
    WHERE decision_id = NEW.decision_id;
END;

CREATE TRIGGER orders_updated AFTER UPDATE ON orders WHEN NEW.version IS OLD.version BEGIN
    UPDATE orders SET
        version = OLD.version + 1,
        updated_at = CASE WHEN NEW.updated_at IS OLD.updated_at THEN strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z' ELSE NEW.updated_at END
    WHERE order_id = NEW.order_id;
END;

CREATE TRIGGER positions_updated AFTER UPDATE ON positions WHEN NEW.version IS OLD.version BEGIN
    UPDATE positions SET
        version = OLD.version + 1,
        updated_at = CASE WHEN NEW.updated_at IS OLD.updated_at THEN strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z' ELSE NEW.updated_at END
    WHERE position_id = NEW.position_id;
END;

CREATE TRIGGER performance_metrics_updated AFTER UPDATE ON performance_metrics WHEN NEW.updated_at IS OLD.updated_at BEGIN
    UPDATE performance_metrics SET updated_at = strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z' WHERE account_id = NEW.account_id AND date = NEW.date;
END;

CREATE TRIGGER condition_created AFTER INSERT ON conditions BEGIN
    INSERT INTO changes (entity, entity_id, version, change, changed_at)
    VALUES ('condition', NEW.condition_id, NEW.version, 'created', strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z');
END;

CREATE TRIGGER condition_updated AFTER UPDATE ON conditions WHEN NEW.version IS NOT OLD.version BEGIN
    INSERT INTO changes (entity, entity_id, version, change, changed_at)
    VALUES ('condition', NEW.condition_id, NEW.version, 'updated', strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z');
END;

CREATE TRIGGER condition_deleted AFTER DELETE ON conditions BEGIN
    INSERT INTO changes (entity, entity_id, version, change, changed_at)
    VALUES ('condition', OLD.condition_id, OLD.version, 'deleted', strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z');
END;

CREATE TRIGGER order_created AFTER INSERT ON orders BEGIN
    INSERT INTO changes (entity, entity_id, version, change, changed_at)
    VALUES ('order', NEW.order_id, NEW.version, 'created', strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z');
END;

CREATE TRIGGER order_updated AFTER UPDATE ON orders WHEN NEW.version IS NOT OLD.version BEGIN
    INSERT INTO changes (entity, entity_id, version, change, changed_at)
    VALUES ('order', NEW.order_id, NEW.version, 'updated', strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z');
END;

CREATE TRIGGER order_deleted AFTER DELETE ON orders BEGIN
    INSERT INTO changes (entity, entity_id, version, change, changed_at)
    VALUES ('order', OLD.order_id, OLD.version, 'deleted', strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z');
END;
