-- Version 2 of transactions: terminal, device, card and IP address of a decision; actions on one card of a customer.

-- Null where the transaction has none, and before this migration. All four are personal data (docs/security.md).
ALTER TABLE raw.decisions ADD COLUMN terminal text,
ADD COLUMN device text,
ADD COLUMN card text, -- a token, or **** and the last four digits of a number that came in the clear
ADD COLUMN ip text; -- the form of RFC 5952

ALTER TABLE raw.user_actions ADD COLUMN card text,
DROP CONSTRAINT user_actions_scope_check,
ADD CONSTRAINT user_actions_scope_check CHECK (scope IN ('customer', 'merchant', 'card')),
ADD CONSTRAINT user_actions_card_check CHECK ((card IS NOT NULL) = (scope = 'card'));

-- As in 0019, and a clear of one card ends only actions on this card.
CREATE OR REPLACE VIEW raw.standing_actions AS
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
                    AND n.card IS NOT DISTINCT FROM a.card AND n.rule IS NOT DISTINCT FROM a.rule)
                OR (n.action = 'clear' AND (n.merchant IS NULL OR n.merchant = a.merchant)
                    AND (n.card IS NULL OR n.card = a.card) AND (n.rule IS NULL OR n.rule = a.rule))
            )
    );
