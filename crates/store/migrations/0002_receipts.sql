-- Receipts, and the log they are sealed into.

-- One boot of one gateway.
CREATE TABLE incarnations (
    id TEXT PRIMARY KEY,
    gateway TEXT NOT NULL,
    begun_at BIGINT NOT NULL
);

-- ord is gapless from 0 in the order of commits, and it is the receipt's place in the log: what is sealed is always the
-- rows below tree_head.size, so sealing updates one row however many leaves it covers, and two sealers that start
-- from the same head compute the same tree. BYTEA is PostgreSQL's word; SQLite stores a blob whatever the word.
-- No foreign keys: receipts outlive what they name, and a gateway must be able to ship them into a restored store.
CREATE TABLE receipts (
    ord BIGINT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    project TEXT NOT NULL,
    key TEXT NOT NULL,
    inc TEXT NOT NULL,
    journal_seq BIGINT NOT NULL,
    chain_seq BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    month TEXT NOT NULL,
    cost BIGINT NOT NULL,
    outcome TEXT NOT NULL,
    signing_input TEXT NOT NULL,
    leaf BYTEA NOT NULL,
    UNIQUE (inc, journal_seq),
    UNIQUE (tenant, inc, chain_seq)
);
-- A tenant lists its receipts in the order of the log.
CREATE INDEX receipts_of_tenant ON receipts (tenant, ord);
-- A month's sums are read from the index alone.
CREATE INDEX receipts_spent ON receipts (month, tenant, project, key, cost);

-- One row: the size of the sealed tree and its signed checkpoint ('' before the first).
CREATE TABLE tree_head (
    id BIGINT PRIMARY KEY,
    size BIGINT NOT NULL,
    checkpoint TEXT NOT NULL
);
INSERT INTO tree_head (id, size, checkpoint) VALUES (1, 0, '');
