-- Providers as partners: tenants that publish endpoints under their own name, with a share of what these earn.
-- The provider's name is what endpoints carry as a fact and receipts as served_by.provider, so it is theirs alone and never changes.
CREATE TABLE partners (
    tenant TEXT PRIMARY KEY REFERENCES tenants (id),
    provider TEXT NOT NULL UNIQUE,
    jurisdiction TEXT NOT NULL,
    operator TEXT NOT NULL,
    share_permille BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
