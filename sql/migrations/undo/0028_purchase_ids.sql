-- Undo of 0028. The topics keep the fields, and the detector keeps the actions in its state.
-- lock: raw.user_actions, raw.decisions
-- lost: decisions with a terminal, device, card or IP address: SELECT count(*) FROM raw.decisions WHERE num_nonnulls(terminal, device, card, ip) > 0
-- lost: actions on one card: SELECT count(*) FROM raw.user_actions WHERE scope = 'card'
DROP VIEW raw.account_risk;
DROP VIEW raw.standing_actions;
ALTER TABLE raw.decisions DROP COLUMN terminal, DROP COLUMN device, DROP COLUMN card, DROP COLUMN ip;
ALTER TABLE raw.user_actions DROP COLUMN card,
DROP CONSTRAINT user_actions_scope_check,
ADD CONSTRAINT user_actions_scope_check CHECK (scope IN ('customer', 'merchant'));

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

GRANT SELECT ON raw.standing_actions, raw.account_risk TO streamflow_api;
