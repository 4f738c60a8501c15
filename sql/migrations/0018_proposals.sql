-- Changes of the rules that a person proposes and another person approves. Rules of this file, not only of the program:
-- the proposer is a rules editor, the decision is an approver's and never the proposer's, and a decision is final.
--
-- To undo (deletes all proposals): DROP TABLE api.proposals; DROP FUNCTION api.check_proposal, api.has_role;

-- Grain: one proposal. An approved one is its own outbox row: the control message that a relay sends at least once.
CREATE TABLE api.proposals (
    proposal_id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    changes             jsonb NOT NULL CHECK (jsonb_typeof(changes) = 'object'), -- those of a control message
    before              jsonb NOT NULL, -- the values that they replace
    base_revision       bigint NOT NULL, -- in force when it was proposed; the detector applies it to no other one
    reason              text NOT NULL CHECK (length(reason) BETWEEN 1 AND 256),
    proposed_by         text NOT NULL,
    proposed_at         timestamptz NOT NULL DEFAULT now(),
    status              text NOT NULL DEFAULT 'proposed'
    CHECK (status IN ('proposed', 'approved', 'refused', 'withdrawn')),
    decided_by          text,
    decided_at          timestamptz,
    decision_reason     text CHECK (length(decision_reason) BETWEEN 1 AND 256),
    control_id          text UNIQUE, -- a function of the proposal, so a message that is sent twice has one id
    message             jsonb,
    not_before          timestamptz, -- the next attempt to send
    attempts            integer NOT NULL DEFAULT 0,
    last_error          text,
    sent_at             timestamptz,
    CONSTRAINT approver_is_another_person
    CHECK (status NOT IN ('approved', 'refused') OR decided_by <> proposed_by),
    CONSTRAINT only_the_proposer_withdraws CHECK (status <> 'withdrawn' OR decided_by = proposed_by),
    CONSTRAINT decided_is_complete
    CHECK (num_nulls(decided_by, decided_at, decision_reason) = CASE status WHEN 'proposed' THEN 3 ELSE 0 END),
    CONSTRAINT approved_has_message
    CHECK (num_nulls(control_id, message, not_before) = CASE status WHEN 'approved' THEN 0 ELSE 3 END),
    CONSTRAINT sent_is_approved CHECK (sent_at IS NULL OR status = 'approved')
);
CREATE INDEX proposals_waiting ON api.proposals (not_before) WHERE status = 'approved' AND sent_at IS NULL;

CREATE FUNCTION api.has_role(actor text, wanted text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM api.accounts WHERE 'user:' || name = actor AND wanted = ANY (roles) AND disabled_at IS NULL)
$$;

CREATE FUNCTION api.check_proposal() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    sending CONSTANT text[] := ARRAY['not_before', 'attempts', 'last_error', 'sent_at'];
    deciding CONSTANT text[] := sending || ARRAY['status', 'decided_by', 'decided_at', 'decision_reason', 'control_id',
        'message'];
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.status <> 'proposed' OR NOT api.has_role(NEW.proposed_by, 'rules-editor') THEN
            RAISE EXCEPTION 'only a rules editor proposes a change' USING ERRCODE = 'insufficient_privilege';
        END IF;
        RETURN NEW;
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.status = 'proposed' AND to_jsonb(OLD) - deciding = to_jsonb(NEW) - deciding THEN
        IF NEW.status IN ('approved', 'refused') AND NOT api.has_role(NEW.decided_by, 'approver') THEN
            RAISE EXCEPTION 'only an approver decides about a change' USING ERRCODE = 'insufficient_privilege';
        END IF;
        RETURN NEW;
    END IF;
    IF TG_OP = 'UPDATE' AND to_jsonb(OLD) - sending = to_jsonb(NEW) - sending AND OLD.sent_at IS NULL THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'api.proposals: a decision is final, and no proposal is ever deleted';
END
$$;
CREATE TRIGGER check_proposal BEFORE INSERT OR UPDATE OR DELETE ON api.proposals
FOR EACH ROW EXECUTE FUNCTION api.check_proposal();
CREATE TRIGGER keep_proposals BEFORE TRUNCATE ON api.proposals
FOR EACH STATEMENT EXECUTE FUNCTION api.check_proposal();

GRANT SELECT, INSERT, UPDATE ON api.proposals TO streamflow_api;
