-- Collections of documents. A column called sealed, content or vector holds bytes under the project's data key (AES-256-GCM, the
-- row's name as associated data): neither names nor texts are here in clear. Every table names its project, and every statement
-- of a request asks for it.

-- A project's data key, wrapped by the site's key. Empty: destroyed, for good.
CREATE TABLE knowledge_keys (
    project TEXT PRIMARY KEY REFERENCES projects (id),
    wrapped BYTEA NOT NULL,
    made_at BIGINT NOT NULL,
    destroyed_at BIGINT
);

-- version moves with each change of the passages: an index in memory that was made of another one is made again.
CREATE TABLE knowledge_collections (
    id TEXT PRIMARY KEY,
    project TEXT NOT NULL REFERENCES projects (id),
    created_at BIGINT NOT NULL,
    last_active_at BIGINT NOT NULL,
    expires_at BIGINT,
    version BIGINT NOT NULL,
    sealed BYTEA NOT NULL
);
CREATE INDEX knowledge_collections_of_project ON knowledge_collections (project, id);
CREATE INDEX knowledge_collections_expiring ON knowledge_collections (expires_at) WHERE expires_at IS NOT NULL;

-- content last: what lists files does not read through it.
CREATE TABLE knowledge_files (
    id TEXT PRIMARY KEY,
    project TEXT NOT NULL REFERENCES projects (id),
    created_at BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    sealed BYTEA NOT NULL,
    content BYTEA NOT NULL
);
CREATE INDEX knowledge_files_of_project ON knowledge_files (project, id);

-- A file in a collection. status: processing, completed, failed; code and message say why it failed, and hold no content.
CREATE TABLE knowledge_attachments (
    collection TEXT NOT NULL REFERENCES knowledge_collections (id),
    file TEXT NOT NULL REFERENCES knowledge_files (id),
    project TEXT NOT NULL,
    status TEXT NOT NULL,
    attached_at BIGINT NOT NULL,
    passages BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    code TEXT,
    message TEXT,
    sealed BYTEA NOT NULL,
    PRIMARY KEY (collection, file)
);
CREATE INDEX knowledge_attachments_of_file ON knowledge_attachments (file);
CREATE INDEX knowledge_attachments_unfinished ON knowledge_attachments (attached_at) WHERE status = 'processing';

-- vector: empty where there was no embedding endpoint.
CREATE TABLE knowledge_passages (
    collection TEXT NOT NULL,
    file TEXT NOT NULL,
    number BIGINT NOT NULL,
    project TEXT NOT NULL,
    sealed BYTEA NOT NULL,
    vector BYTEA NOT NULL,
    PRIMARY KEY (collection, file, number),
    FOREIGN KEY (collection, file) REFERENCES knowledge_attachments (collection, file)
);
