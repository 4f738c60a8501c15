-- Login of people by an OpenID Connect server: open logins, and accounts that belong to a person at that server.

ALTER TABLE api.accounts
    ADD COLUMN oidc_issuer text,
    ADD COLUMN oidc_subject text,
    ADD CONSTRAINT accounts_oidc_complete CHECK ((oidc_issuer IS NULL) = (oidc_subject IS NULL)),
    ADD CONSTRAINT accounts_oidc UNIQUE (oidc_issuer, oidc_subject);

-- Grain: one login that a browser began at the console and has not finished. It is deleted with its first answer.
CREATE TABLE api.oidc_logins (
    state_sha256        text PRIMARY KEY,
    browser_sha256      text NOT NULL, -- of the cookie of the browser that began
    nonce               text NOT NULL,
    verifier            text NOT NULL, -- of PKCE
    target              text NOT NULL, -- the page that the person asked for
    expires_at          timestamptz NOT NULL
);
CREATE INDEX oidc_logins_expiry ON api.oidc_logins (expires_at);
GRANT SELECT, INSERT, DELETE ON api.oidc_logins TO streamflow_api;

-- Finds, links or makes the account of a person, and sets its roles to those of this login.
-- The API may call this function, and cannot write api.accounts in any other way.
-- Outcomes: known, linked, created; and refused logins: disabled, no_role, name_taken.
CREATE FUNCTION api.oidc_account(
    p_issuer text, p_subject text, p_name text, p_display_name text, p_roles text[], p_link boolean
) RETURNS TABLE (account_name text, outcome text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_account api.accounts%ROWTYPE;
    result text := 'known';
BEGIN
    SELECT * INTO found_account FROM api.accounts a
    WHERE a.oidc_issuer = p_issuer AND a.oidc_subject = p_subject FOR UPDATE;
    IF NOT FOUND AND cardinality(p_roles) > 0 THEN
        INSERT INTO api.accounts (name, display_name, roles, created_by, oidc_issuer, oidc_subject)
        VALUES (p_name, p_display_name, p_roles, 'oidc', p_issuer, p_subject)
        ON CONFLICT DO NOTHING
        RETURNING * INTO found_account;
        IF FOUND THEN
            RETURN QUERY SELECT found_account.name, 'created'::text;
            RETURN;
        END IF;
        UPDATE api.accounts a SET oidc_issuer = p_issuer, oidc_subject = p_subject
        WHERE p_link AND a.name = p_name AND a.oidc_subject IS NULL AND a.disabled_at IS NULL
        RETURNING * INTO found_account;
        result := 'linked';
        IF NOT FOUND THEN -- another login of the same person made the account at the same time
            SELECT * INTO found_account FROM api.accounts a
            WHERE a.oidc_issuer = p_issuer AND a.oidc_subject = p_subject FOR UPDATE;
            result := 'known';
        END IF;
    END IF;
    IF found_account.name IS NULL THEN
        RETURN QUERY SELECT NULL::text, CASE WHEN cardinality(p_roles) = 0 THEN 'no_role' ELSE 'name_taken' END;
        RETURN;
    END IF;
    IF found_account.disabled_at IS NOT NULL THEN
        RETURN QUERY SELECT found_account.name, 'disabled'::text;
        RETURN;
    END IF;
    IF cardinality(p_roles) = 0 THEN -- the person lost the last group: open sessions end
        UPDATE api.sessions s SET revoked_at = now()
        WHERE s.account_name = found_account.name AND s.revoked_at IS NULL;
        RETURN QUERY SELECT found_account.name, 'no_role'::text;
        RETURN;
    END IF;
    UPDATE api.accounts a SET roles = p_roles, display_name = p_display_name WHERE a.name = found_account.name;
    RETURN QUERY SELECT found_account.name, result;
END
$$;
REVOKE ALL ON FUNCTION api.oidc_account(text, text, text, text, text[], boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.oidc_account(text, text, text, text, text[], boolean) TO streamflow_api;
