-- What platforms order through the Open Service Broker.

-- A platform with its credential. body is what it may order, JSON; password_hash is keyed by the site's pepper. A removed one
-- stays for what it ordered.
CREATE TABLE brokers (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    username TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    body TEXT NOT NULL,
    removed BOOLEAN NOT NULL
);
CREATE UNIQUE INDEX brokers_by_name ON brokers (name) WHERE NOT removed;
CREATE UNIQUE INDEX brokers_by_username ON brokers (username) WHERE NOT removed;

-- Which tenant a platform's customer is.
CREATE TABLE broker_tenants (
    broker TEXT NOT NULL REFERENCES brokers (id),
    subaccount TEXT NOT NULL,
    tenant TEXT NOT NULL REFERENCES tenants (id),
    PRIMARY KEY (broker, subaccount)
);

-- Instances by the platform's ids; body is JSON. operation is the order that runs, if one does.
CREATE TABLE broker_instances (
    broker TEXT NOT NULL REFERENCES brokers (id),
    id TEXT NOT NULL,
    project TEXT REFERENCES projects (id),
    operation TEXT UNIQUE,
    version BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (broker, id)
);

CREATE TABLE broker_bindings (
    broker TEXT NOT NULL,
    instance TEXT NOT NULL,
    id TEXT NOT NULL,
    key TEXT NOT NULL REFERENCES keys (id),
    body TEXT NOT NULL,
    PRIMARY KEY (broker, instance, id),
    FOREIGN KEY (broker, instance) REFERENCES broker_instances (broker, id)
);

-- What was deleted a short while ago, by the platform's ids; binding is '' for an instance. operation is what the deletion
-- put an end to.
CREATE TABLE broker_tombstones (
    broker TEXT NOT NULL REFERENCES brokers (id),
    instance TEXT NOT NULL,
    binding TEXT NOT NULL,
    operation TEXT,
    until BIGINT NOT NULL,
    PRIMARY KEY (broker, instance, binding)
);
CREATE INDEX broker_tombstones_by_time ON broker_tombstones (until);
