-- Budgets shared by several gateways, and which boot of a gateway is the newest.

-- Of the boots of one name the newest has the highest epoch; any other is stale and is granted nothing more.
ALTER TABLE incarnations ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0;
CREATE INDEX incarnations_of_gateway ON incarnations (gateway, epoch);

INSERT INTO counters (name, value) VALUES ('leases', 0);

-- What a boot may spend of one budget in one month, all that it spent already included. scope is the id of a tenant, a
-- project or a key. turn grows with each ask, so that one that comes late changes nothing; short is what the boot needs and
-- did not get, for the others to let go of.
CREATE TABLE leases (
    month TEXT NOT NULL,
    scope TEXT NOT NULL,
    inc TEXT NOT NULL,
    turn BIGINT NOT NULL,
    granted BIGINT NOT NULL,
    short BIGINT NOT NULL,
    PRIMARY KEY (month, scope, inc)
);
CREATE INDEX leases_of_incarnation ON leases (inc);

-- What each key's receipts of each boot add up to: written with the receipts, in their transaction.
CREATE TABLE spent_by_boot (
    month TEXT NOT NULL,
    tenant TEXT NOT NULL,
    project TEXT NOT NULL,
    key TEXT NOT NULL,
    inc TEXT NOT NULL,
    cost BIGINT NOT NULL,
    PRIMARY KEY (month, tenant, project, key, inc)
);
CREATE INDEX spent_by_boot_of_project ON spent_by_boot (month, project);
CREATE INDEX spent_by_boot_of_key ON spent_by_boot (month, key);
INSERT INTO spent_by_boot (month, tenant, project, key, inc, cost)
    SELECT c.month, c.tenant, c.project, c.key, r.inc, CAST(SUM(c.cost) AS BIGINT)
    FROM receipt_costs AS c JOIN receipt_runs AS r ON r.first_ord = c.first_ord
    GROUP BY c.month, c.tenant, c.project, c.key, r.inc;
