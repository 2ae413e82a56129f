-- A project whose instance was deleted: no key of it is made any more, and nothing is stored in it. Receipts go on naming it.
ALTER TABLE projects ADD COLUMN closed_at BIGINT;
UPDATE projects SET closed_at = (SELECT MIN(a.at) FROM audit AS a WHERE a.action = 'instance.delete' AND a.object = projects.id)
WHERE id IN (SELECT a.object FROM audit AS a WHERE a.action = 'instance.delete');
-- What was made in one after its end, while nothing forbade it.
UPDATE keys SET revoked = TRUE WHERE project IN (SELECT id FROM projects WHERE closed_at IS NOT NULL);

-- On whose key vectors are made, for a start after a crash.
ALTER TABLE knowledge_attachments ADD COLUMN on_key TEXT;

-- Which runs hold receipts of a month, in the order of the log: what a partner earned in a month is read from these alone.
CREATE INDEX receipt_costs_of_month ON receipt_costs (month, first_ord);
