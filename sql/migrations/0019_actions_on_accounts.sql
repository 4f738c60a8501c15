-- Actions on accounts: block, allow, watch, suppress a rule, clear. What each customer's account amounts to now.

-- The actions that applied to a decision; null without any, and before this migration.
ALTER TABLE raw.decisions ADD COLUMN actions jsonb;

-- Grain: one action on one customer. Every action is kept.
CREATE TABLE raw.user_actions (
    action_id           text PRIMARY KEY, -- a function of the other columns: sent twice, it is one row
    schema_version      integer NOT NULL,
    customer_id         text NOT NULL,
    action              text NOT NULL CHECK (action IN ('block', 'allow', 'watch', 'suppress', 'clear')),
    scope               text NOT NULL CHECK (scope IN ('customer', 'merchant')),
    merchant            text CHECK ((merchant IS NOT NULL) = (scope = 'merchant')),
    rule                text,
    issued_at_ms        bigint NOT NULL,
    issued_at           timestamptz NOT NULL GENERATED ALWAYS AS (to_timestamp(issued_at_ms / 1000.0)) STORED,
    expires_at_ms       bigint CHECK ((expires_at_ms IS NULL) = (action = 'clear')),
    expires_at          timestamptz GENERATED ALWAYS AS (to_timestamp(expires_at_ms / 1000.0)) STORED,
    reason              text NOT NULL,
    case_id             text,
    actor               text NOT NULL,
    loaded_at           timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX user_actions_customer ON raw.user_actions (customer_id, issued_at_ms);

-- Grain: one action that no newer action replaced and no newer clear ended; it can have expired. The same rules as the
-- detector's: of two actions, the one issued later is newer, then the one with the greater id.
CREATE VIEW raw.standing_actions AS
SELECT a.*
FROM raw.user_actions AS a
WHERE
    a.action <> 'clear'
    AND NOT EXISTS (
        SELECT FROM raw.user_actions AS n
        WHERE
            n.customer_id = a.customer_id
            AND (n.issued_at_ms, n.action_id COLLATE "C") > (a.issued_at_ms, a.action_id COLLATE "C")
            AND (
                (n.action = a.action AND n.merchant IS NOT DISTINCT FROM a.merchant
                    AND n.rule IS NOT DISTINCT FROM a.rule)
                OR (n.action = 'clear' AND (n.merchant IS NULL OR n.merchant = a.merchant)
                    AND (n.rule IS NULL OR n.rule = a.rule))
            )
    );

-- Grain: one customer with at least one action. Risk and its cause by the clock of this server.
CREATE VIEW raw.account_risk AS
WITH in_force AS (
    SELECT * FROM raw.standing_actions WHERE expires_at > now()
),
deciding AS (
    SELECT DISTINCT ON (customer_id) *
    FROM in_force
    WHERE scope = 'customer' AND action IN ('block', 'watch')
    ORDER BY customer_id, action
)
SELECT
    customers.customer_id,
    CASE deciding.action WHEN 'block' THEN 'blocked' WHEN 'watch' THEN 'watch' ELSE 'none' END AS risk,
    deciding.issued_at AS since,
    deciding.expires_at AS until,
    deciding.reason AS why,
    deciding.actor,
    deciding.case_id,
    deciding.action_id,
    customers.actions_in_force,
    customers.actions
FROM (
    SELECT
        known.customer_id,
        count(*) AS actions,
        (SELECT count(*) FROM in_force WHERE in_force.customer_id = known.customer_id) AS actions_in_force
    FROM raw.user_actions AS known
    GROUP BY known.customer_id
) AS customers
LEFT JOIN deciding USING (customer_id);

GRANT SELECT ON raw.user_actions, raw.standing_actions, raw.account_risk TO streamflow_api;
