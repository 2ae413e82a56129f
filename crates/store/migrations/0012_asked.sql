-- Questions whose answers are fetched later. What was asked is not kept; answer holds bytes under the project's data key. Digests of
-- the client's own key for a question, and of the question under it, tell a repeat from another question.
CREATE TABLE asked (
    id TEXT PRIMARY KEY,
    project TEXT NOT NULL REFERENCES projects (id),
    model TEXT NOT NULL,
    status TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    ended_at BIGINT,
    expires_at BIGINT NOT NULL,
    -- While it is open, whoever works on it says so again before this time; else it was abandoned.
    alive_until BIGINT NOT NULL,
    -- 32 bytes; of one without a key of the client, the 16 of its own id.
    name BYTEA NOT NULL,
    request BYTEA NOT NULL,
    error TEXT,
    -- Empty: none.
    answer BYTEA NOT NULL
);
CREATE UNIQUE INDEX asked_names ON asked (project, name);
CREATE INDEX asked_of_project ON asked (project, id);
CREATE INDEX asked_expiring ON asked (expires_at);
