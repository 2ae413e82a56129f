-- Machines, their orders, and what makes them capacity.

-- fleet_epoch grows with each controller that takes over the reconciling; every write of a step names it.
-- fleet_events and incidents number their rows.
INSERT INTO counters (name, value) VALUES ('fleet_epoch', 0), ('fleet_events', 0), ('incidents', 0);

-- Every site file that was applied, with the serial numbers that it names; the newest is the site.
CREATE TABLE site_models (
    version BIGINT PRIMARY KEY,
    text TEXT NOT NULL,
    serials TEXT,
    digest TEXT NOT NULL,
    applied_at BIGINT NOT NULL
);

-- spec is what was asked for, machine what was decided, wants the actions of the last step that are not seen done; JSON.
-- version moves with each write of spec or machine; seen with each observation, stepped is the seen of the last step. A
-- machine is due while they differ, or from wake_at on.
CREATE TABLE machines (
    id TEXT PRIMARY KEY,
    slot TEXT NOT NULL,
    unit TEXT NOT NULL,
    lifecycle TEXT NOT NULL,
    health TEXT NOT NULL,
    scheduling TEXT NOT NULL,
    spec TEXT NOT NULL,
    machine TEXT NOT NULL,
    wants TEXT NOT NULL,
    version BIGINT NOT NULL,
    seen BIGINT NOT NULL,
    stepped BIGINT NOT NULL,
    wake_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX machines_in_slots ON machines (slot) WHERE lifecycle <> 'retired';

-- The newest observation of each kind; JSON.
CREATE TABLE observations (
    machine TEXT NOT NULL REFERENCES machines (id),
    kind TEXT NOT NULL,
    at BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (machine, kind)
);

-- Events of machines that no step has decided on yet; JSON.
CREATE TABLE incidents (
    seq BIGINT PRIMARY KEY,
    machine TEXT NOT NULL REFERENCES machines (id),
    body TEXT NOT NULL
);
CREATE INDEX incidents_of_machine ON incidents (machine, seq);

-- One order for each stay of a machine in a state and each kind: a step that asks twice gets one.
CREATE TABLE orders (
    id TEXT PRIMARY KEY,
    machine TEXT NOT NULL REFERENCES machines (id),
    entry BIGINT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    version BIGINT NOT NULL,
    -- The exclusive zone in which a task of it runs now.
    zone TEXT,
    body TEXT NOT NULL,
    UNIQUE (machine, entry, kind)
);
CREATE INDEX orders_by_state ON orders (state, id);
-- Two tasks never run in one zone, whoever starts them.
CREATE UNIQUE INDEX orders_in_zones ON orders (zone) WHERE zone IS NOT NULL;
CREATE TABLE order_tasks (
    task TEXT PRIMARY KEY,
    order_id TEXT NOT NULL REFERENCES orders (id)
);

-- Certificates of acceptance: entries of the log beside the receipts, with places from the same counter.
CREATE TABLE acceptances (
    ord BIGINT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    machine TEXT NOT NULL REFERENCES machines (id),
    entry BIGINT NOT NULL,
    at BIGINT NOT NULL,
    signing_input TEXT NOT NULL,
    leaf BYTEA NOT NULL,
    UNIQUE (machine, entry)
);

-- What happened, for people: only ever added to.
CREATE TABLE fleet_events (
    seq BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    machine TEXT,
    kind TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX fleet_events_of_machine ON fleet_events (machine, seq);

-- One-time tokens for agents, as a hash. serial is the machine's, if it was known; key is of the first who spent it.
CREATE TABLE agent_tokens (
    hash TEXT PRIMARY KEY,
    machine TEXT NOT NULL REFERENCES machines (id),
    serial TEXT,
    expires_at BIGINT NOT NULL,
    key TEXT
);

-- Up to which number the events of one run of an agent are stored, so that what it sends again is not taken again.
CREATE TABLE agent_marks (
    machine TEXT PRIMARY KEY REFERENCES machines (id),
    instance BIGINT NOT NULL,
    number BIGINT NOT NULL
);

-- Certificates that the site's CA gave to agents, by serial number.
CREATE TABLE agent_certificates (
    serial TEXT PRIMARY KEY,
    machine TEXT NOT NULL REFERENCES machines (id),
    not_after BIGINT NOT NULL,
    revoked BOOLEAN NOT NULL
);

-- Where each machine's BMC is.
CREATE TABLE bmcs (
    machine TEXT PRIMARY KEY REFERENCES machines (id),
    url TEXT NOT NULL,
    username TEXT NOT NULL,
    password TEXT NOT NULL,
    pin TEXT
);
