-- How many requests an engine takes at once from each gateway; more wait there. 256 is vLLM's default of max_num_seqs.
ALTER TABLE engines ADD COLUMN slots BIGINT NOT NULL DEFAULT 256;
