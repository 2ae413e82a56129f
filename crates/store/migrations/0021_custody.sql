-- Which serial number is in which machine that is on the premises, as it was scanned: each is in one place at a time. kind is the
-- part's without its number: two makers may count alike, but not for the same kind of part. Filled from the observations by each
-- controller's start; a retired machine has no rows.
CREATE TABLE custody_serials (
    kind TEXT NOT NULL,
    serial TEXT NOT NULL,
    machine TEXT NOT NULL REFERENCES machines (id),
    part TEXT NOT NULL,
    PRIMARY KEY (machine, part)
);
CREATE UNIQUE INDEX custody_serials_once ON custody_serials (kind, serial);

-- Zones in which a robot may still be whose task is no longer its own: nobody else's until it has said that it stopped. Two robots
-- may have left one task after each other.
CREATE TABLE zones_left (
    task TEXT NOT NULL,
    order_id TEXT NOT NULL REFERENCES orders (id),
    robot TEXT NOT NULL,
    zone TEXT NOT NULL,
    since BIGINT NOT NULL,
    PRIMARY KEY (task, robot)
);
