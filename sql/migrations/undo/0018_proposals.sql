-- Undo of 0018.
-- lock: api.proposals
-- lost: proposals of rules: SELECT count(*) FROM api.proposals
DROP TABLE api.proposals;
DROP FUNCTION api.check_proposal();
DROP FUNCTION api.has_role(text, text);
