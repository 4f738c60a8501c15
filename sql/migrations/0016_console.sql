-- The accounts and sessions of people who use the console. Secrets are stored as digests only.

-- Grain: one person. An account without a password logs in with one-time tokens only.
CREATE TABLE api.accounts (
    name                text PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9._-]{0,62}$'),
    display_name        text NOT NULL CHECK (length(display_name) BETWEEN 1 AND 100),
    roles               text[] NOT NULL CHECK (cardinality(roles) > 0),
    password_hash       text, -- argon2id
    created_at          timestamptz NOT NULL DEFAULT now(),
    created_by          text NOT NULL,
    disabled_at         timestamptz,
    disabled_by         text
);

-- Grain: one one-time token. It logs in once, until it expires.
CREATE TABLE api.login_tokens (
    token_sha256        text PRIMARY KEY,
    account_name        text NOT NULL REFERENCES api.accounts (name),
    created_at          timestamptz NOT NULL DEFAULT now(),
    created_by          text NOT NULL,
    expires_at          timestamptz NOT NULL,
    used_at             timestamptz
);

-- Grain: one session of a browser.
CREATE TABLE api.sessions (
    session_sha256      text PRIMARY KEY,
    account_name        text NOT NULL REFERENCES api.accounts (name),
    created_at          timestamptz NOT NULL DEFAULT now(),
    last_seen_at        timestamptz NOT NULL DEFAULT now(), -- to the minute
    expires_at          timestamptz NOT NULL,
    revoked_at          timestamptz
);
CREATE INDEX sessions_account ON api.sessions (account_name);
CREATE INDEX sessions_expiry ON api.sessions (expires_at);

GRANT SELECT ON api.accounts TO streamflow_api;
GRANT SELECT ON api.login_tokens TO streamflow_api;
GRANT UPDATE (used_at) ON api.login_tokens TO streamflow_api;
GRANT SELECT, INSERT, DELETE ON api.sessions TO streamflow_api;
GRANT UPDATE (last_seen_at, revoked_at) ON api.sessions TO streamflow_api;

-- What the pages show beside decisions and alerts.
GRANT SELECT ON raw.dead_letters, raw.labels, raw.latest_labels TO streamflow_api;
GRANT USAGE ON SCHEMA ml TO streamflow_api;
GRANT SELECT ON ml.model_versions, ml.model_events TO streamflow_api;
