-- Receipts in runs: consecutive places of the log with receipts of one project and one boot, as one row. A row per
-- receipt with five indexes cost more than everything else that a request does (docs/adr/0009-receipts-in-runs.md).
-- What 0002 stored is moved over when the store is opened.

-- rows holds the receipts one behind the other, ids and leaves their ids (16 bytes each) and leaves (32) alone, so that a
-- search and the sealer read no more than they need. The spans say where a repetition or a fork can be.
CREATE TABLE receipt_runs (
    first_ord BIGINT PRIMARY KEY,
    last_ord BIGINT NOT NULL,
    tenant TEXT NOT NULL,
    project TEXT NOT NULL,
    inc TEXT NOT NULL,
    first_journal BIGINT NOT NULL,
    last_journal BIGINT NOT NULL,
    first_chain BIGINT NOT NULL,
    last_chain BIGINT NOT NULL,
    ids BYTEA NOT NULL,
    leaves BYTEA NOT NULL,
    rows BYTEA NOT NULL
);
CREATE INDEX receipt_runs_by_journal ON receipt_runs (inc, last_journal, first_journal);
CREATE INDEX receipt_runs_by_chain ON receipt_runs (tenant, inc, last_chain, first_chain);
CREATE INDEX receipt_runs_of_project ON receipt_runs (tenant, project, last_ord);
CREATE INDEX receipt_runs_of_tenant ON receipt_runs (tenant, last_ord);

-- In which runs ids of this second are. An id begins with its time, so a receipt is found through its second.
CREATE TABLE receipt_seconds (
    second BIGINT NOT NULL,
    first_ord BIGINT NOT NULL,
    PRIMARY KEY (second, first_ord)
);

-- What each key spent in each month, run by run: written with the run, never changed, a fold over its receipts.
CREATE TABLE receipt_costs (
    month TEXT NOT NULL,
    tenant TEXT NOT NULL,
    project TEXT NOT NULL,
    key TEXT NOT NULL,
    cost BIGINT NOT NULL,
    first_ord BIGINT NOT NULL
);
CREATE INDEX receipt_costs_spent ON receipt_costs (month, tenant, project, key, cost);
