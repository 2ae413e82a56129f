-- What was sent to BMCs and must not be sent twice: an installation that every start of a controller begins anew never ends.
-- One row for each machine and thing, of its newest stay and attempt.
CREATE TABLE bmc_sent (
    machine TEXT NOT NULL,
    what TEXT NOT NULL,
    entry BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    again_at BIGINT NOT NULL,
    PRIMARY KEY (machine, what)
);
