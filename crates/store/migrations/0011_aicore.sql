-- What clients of SAP's AI Core make in a project: groups, configurations, deployments. Nothing of it serves a request by itself:
-- a key may ask what policy permits, whatever stands here, and the group "default" is the project and has no row.

CREATE TABLE aicore_groups (
    project TEXT NOT NULL REFERENCES projects (id),
    name TEXT NOT NULL,
    -- JSON: [{"key","value"}]
    labels TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (project, name)
);

-- Written once. parameters is JSON: [["key","value"]]
CREATE TABLE aicore_configurations (
    id TEXT PRIMARY KEY,
    project TEXT NOT NULL REFERENCES projects (id),
    group_name TEXT NOT NULL,
    name TEXT NOT NULL,
    executable TEXT NOT NULL,
    parameters TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX aicore_configurations_of_groups ON aicore_configurations (project, group_name, id);

-- target is RUNNING or STOPPED. configuration may also be one that the site makes by itself, which has no row: no reference.
CREATE TABLE aicore_deployments (
    id TEXT PRIMARY KEY,
    project TEXT NOT NULL REFERENCES projects (id),
    group_name TEXT NOT NULL,
    configuration TEXT NOT NULL,
    target TEXT NOT NULL,
    updated BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    modified_at BIGINT NOT NULL
);
CREATE INDEX aicore_deployments_of_groups ON aicore_deployments (project, group_name, id);
