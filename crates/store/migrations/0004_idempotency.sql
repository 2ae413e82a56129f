-- Idempotency keys that a gateway has taken, before it dispatched: no two gateways, and no two boots of one, do the same
-- request twice. name and request are keyed digests, so the table holds no text of a caller's. receipt says whose word
-- decides what became of it; until is when the key is forgotten.
CREATE TABLE idempotency (
    project TEXT NOT NULL,
    name BYTEA NOT NULL,
    request BYTEA NOT NULL,
    receipt TEXT NOT NULL,
    until BIGINT NOT NULL,
    PRIMARY KEY (project, name)
);
CREATE INDEX idempotency_until ON idempotency (until);
