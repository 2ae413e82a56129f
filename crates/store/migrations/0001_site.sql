-- What a site is made of. Both SQLite and PostgreSQL run this text: TEXT for ids and JSON, BIGINT for time (milliseconds
-- since 1970 UTC), money (micro-euro) and counts, BOOLEAN for yes and no. A migration that shipped is never edited.

-- Numbers that grow under a lock. 'snapshot' grows by one with each change of the tables that the snapshot shows;
-- 'leaves' is the number of receipts, and so the place of the next one.
CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('snapshot', 0), ('leaves', 0);

CREATE TABLE tenants (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    budget BIGINT
);

CREATE TABLE projects (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL REFERENCES tenants (id),
    name TEXT NOT NULL,
    class TEXT NOT NULL,
    country TEXT,
    budget BIGINT,
    requests_per_minute BIGINT,
    tokens_per_minute BIGINT,
    commitment_key TEXT NOT NULL,
    UNIQUE (tenant, name)
);

-- secret_hash is keyed by the site's pepper: this table alone opens nothing.
CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    project TEXT NOT NULL REFERENCES projects (id),
    name TEXT NOT NULL,
    secret_hash TEXT NOT NULL,
    revoked BOOLEAN NOT NULL,
    expires_at BIGINT,
    budget BIGINT,
    requests_per_minute BIGINT,
    tokens_per_minute BIGINT
);
CREATE INDEX keys_of_project ON keys (project, id);

-- A model under one set of facts: the unique index is what makes engines with equal facts replicas of one endpoint.
CREATE TABLE endpoints (
    id TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    country TEXT NOT NULL,
    site TEXT NOT NULL,
    operator TEXT NOT NULL,
    provider TEXT NOT NULL,
    jurisdiction TEXT NOT NULL,
    retention TEXT NOT NULL,
    attestation TEXT NOT NULL,
    weights TEXT,
    context_length BIGINT NOT NULL,
    output_tokens_max BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (model, country, site, operator, provider, jurisdiction, retention, attestation)
);

CREATE TABLE engines (
    id TEXT PRIMARY KEY,
    endpoint TEXT NOT NULL REFERENCES endpoints (id),
    url TEXT NOT NULL,
    kind TEXT NOT NULL,
    model_alias TEXT,
    credential TEXT,
    cordoned BOOLEAN NOT NULL,
    UNIQUE (endpoint, url)
);

-- tenant is NULL for the operator's rules; names are unique per owner, and NULLs never collide, hence two indexes.
CREATE TABLE rules (
    id TEXT PRIMARY KEY,
    tenant TEXT REFERENCES tenants (id),
    name TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE UNIQUE INDEX rules_of_operator ON rules (name) WHERE tenant IS NULL;
CREATE UNIQUE INDEX rules_of_tenant ON rules (tenant, name) WHERE tenant IS NOT NULL;

-- A book is never changed: old receipts are rated by the book whose digest they carry. prices is a JSON array.
CREATE TABLE price_books (
    version BIGINT PRIMARY KEY,
    prices TEXT NOT NULL
);

-- Bearers of rights at the control API. No foreign key on the role: roles are policy's words.
CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    tenant TEXT REFERENCES tenants (id),
    secret_hash TEXT NOT NULL,
    revoked BOOLEAN NOT NULL,
    expires_at BIGINT
);

-- Who changed what; rows are only ever added. No foreign keys: an entry outlives what it tells of.
CREATE TABLE audit (
    id TEXT PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    tenant TEXT,
    detail TEXT NOT NULL
);
CREATE INDEX audit_of_tenant ON audit (tenant, id);
