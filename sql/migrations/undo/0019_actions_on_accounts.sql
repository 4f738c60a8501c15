-- Undo of 0019. The topic of actions keeps the actions, and the detector keeps them in its state.
-- lock: raw.user_actions, raw.decisions
-- lost: actions on accounts: SELECT count(*) FROM raw.user_actions
-- lost: decisions to which an action applied: SELECT count(*) FROM raw.decisions WHERE actions IS NOT NULL
DROP VIEW raw.account_risk;
DROP VIEW raw.standing_actions;
DROP TABLE raw.user_actions;
ALTER TABLE raw.decisions DROP COLUMN actions;
