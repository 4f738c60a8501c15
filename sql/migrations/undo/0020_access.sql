-- Undo of 0020. Logins that are open at an OpenID Connect server must start again.
-- lock: api.accounts, api.oidc_logins
-- lost: accounts that belong to a person at an OpenID Connect server: SELECT count(*) FROM api.accounts WHERE oidc_subject IS NOT NULL
DROP FUNCTION api.oidc_account(text, text, text, text, text[], boolean);
DROP TABLE api.oidc_logins;
ALTER TABLE api.accounts
    DROP CONSTRAINT accounts_oidc,
    DROP CONSTRAINT accounts_oidc_complete,
    DROP COLUMN oidc_issuer,
    DROP COLUMN oidc_subject;
