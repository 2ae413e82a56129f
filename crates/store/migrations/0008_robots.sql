-- Robots' sessions, as `robots` exports them: which order each has, which one it may still have, what was asked and not
-- answered. Only this controller's memory, kept for its next start; an older one is safe.
CREATE TABLE robots (
    id TEXT PRIMARY KEY,
    at BIGINT NOT NULL,
    session TEXT NOT NULL
);
