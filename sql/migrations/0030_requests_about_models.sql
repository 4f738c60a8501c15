-- Promotions and rollbacks of models that one person requests in the console and another person approves. Rules of this file, not
-- only of the program: roles, two persons, no approval without a passed gate, a decision is final. The API writes requests and
-- decisions only; the process that carries them out (role streamflow_models) writes the checks of the gate and the outcome only.

-- Grain: one request.
CREATE TABLE api.model_requests (
    request_id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind                text NOT NULL CHECK (kind IN ('promotion', 'rollback')),
    version             text NOT NULL REFERENCES ml.model_versions, -- of a rollback: the version that becomes champion again
    to_stage            text NOT NULL CHECK (to_stage IN ('champion', 'shadow')),
    champion            text, -- the champion when it was requested
    days                integer CHECK (days BETWEEN 1 AND 30), -- of recorded decisions on which the gate compares
    is_urgent           boolean NOT NULL DEFAULT false, -- approved by the requester alone, reviewed afterwards
    reason              text NOT NULL CHECK (length(reason) BETWEEN 1 AND 256),
    requested_by        text NOT NULL,
    requested_at        timestamptz NOT NULL DEFAULT now(),
    status              text NOT NULL DEFAULT 'requested'
    CHECK (status IN ('requested', 'approved', 'refused', 'withdrawn')),
    decided_by          text,
    decided_at          timestamptz,
    decision_reason     text CHECK (length(decision_reason) BETWEEN 1 AND 256),
    reviewed_by         text,
    reviewed_at         timestamptz,
    review_reason       text CHECK (length(review_reason) BETWEEN 1 AND 256),
    gate                jsonb, -- checks
    gate_passed         boolean,
    gate_error          text, -- why the gate could not run
    gate_at             timestamptz,
    taken_at            timestamptz, -- the gate or the change runs; a process that died is replaced after a while
    outcome             text CHECK (outcome IN ('done', 'refused by the gate', 'failed')),
    outcome_at          timestamptz,
    control_id          text,
    error               text,
    CONSTRAINT rollback_makes_a_champion CHECK (kind <> 'rollback' OR to_stage = 'champion'),
    CONSTRAINT only_a_rollback_is_urgent CHECK (NOT is_urgent OR kind = 'rollback'),
    CONSTRAINT champion_is_compared CHECK ((kind = 'promotion' AND to_stage = 'champion') = (days IS NOT NULL)),
    CONSTRAINT approver_is_another_person
    CHECK (status NOT IN ('approved', 'refused') OR decided_by <> requested_by OR is_urgent),
    CONSTRAINT only_the_requester_withdraws CHECK (status <> 'withdrawn' OR decided_by = requested_by),
    CONSTRAINT decided_is_complete
    CHECK (num_nulls(decided_by, decided_at, decision_reason) = CASE status WHEN 'requested' THEN 3 ELSE 0 END),
    CONSTRAINT review_is_complete CHECK (num_nulls(reviewed_by, reviewed_at, review_reason) IN (0, 3)),
    CONSTRAINT reviewer_is_another_person CHECK (reviewed_by IS NULL OR (is_urgent AND reviewed_by <> requested_by)),
    CONSTRAINT gate_passed_before_approval CHECK (status <> 'approved' OR kind = 'rollback' OR gate_passed IS TRUE),
    CONSTRAINT gate_is_complete CHECK ((gate_at IS NULL) = (gate_passed IS NULL)),
    CONSTRAINT outcome_needs_approval CHECK (outcome IS NULL OR status = 'approved'),
    CONSTRAINT outcome_is_complete CHECK ((outcome IS NULL) = (outcome_at IS NULL))
);
-- A form that is sent twice makes one request.
CREATE UNIQUE INDEX model_requests_one_open ON api.model_requests (kind, version, to_stage, is_urgent)
WHERE status = 'requested' OR (status = 'approved' AND outcome IS NULL);

CREATE FUNCTION api.check_model_request() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    working CONSTANT text[] := ARRAY['gate', 'gate_passed', 'gate_error', 'gate_at', 'taken_at', 'outcome', 'outcome_at',
        'control_id', 'error'];
    deciding CONSTANT text[] := ARRAY['status', 'decided_by', 'decided_at', 'decision_reason'];
    reviewing CONSTANT text[] := ARRAY['reviewed_by', 'reviewed_at', 'review_reason'];
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.is_urgent THEN
            IF NEW.status = 'approved' AND NEW.decided_by = NEW.requested_by AND NEW.reviewed_by IS NULL
                AND NEW.outcome IS NULL AND api.has_role(NEW.requested_by, 'approver') THEN
                RETURN NEW;
            END IF;
        ELSIF NEW.status = 'requested' AND NEW.gate_at IS NULL AND (api.has_role(NEW.requested_by, 'rules-editor')
            OR (NEW.kind = 'rollback' AND api.has_role(NEW.requested_by, 'approver'))) THEN
            RETURN NEW;
        END IF;
        RAISE EXCEPTION 'the role of this person does not request this' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.status = 'requested' AND NEW.status <> 'requested'
        AND to_jsonb(OLD) - deciding = to_jsonb(NEW) - deciding THEN
        IF NEW.status <> 'withdrawn' AND NOT api.has_role(NEW.decided_by, 'approver') THEN
            RAISE EXCEPTION 'only an approver decides about a request' USING ERRCODE = 'insufficient_privilege';
        END IF;
        RETURN NEW;
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.is_urgent AND OLD.reviewed_by IS NULL
        AND to_jsonb(OLD) - reviewing = to_jsonb(NEW) - reviewing THEN
        IF NOT api.has_role(NEW.reviewed_by, 'approver') THEN
            RAISE EXCEPTION 'only an approver reviews a rollback' USING ERRCODE = 'insufficient_privilege';
        END IF;
        RETURN NEW;
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.status IN ('requested', 'approved') AND OLD.outcome IS NULL
        AND (OLD.gate_at IS NULL OR to_jsonb(NEW) -> 'gate_passed' = to_jsonb(OLD) -> 'gate_passed')
        AND to_jsonb(OLD) - working = to_jsonb(NEW) - working THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'api.model_requests: a decision is final, and no request is ever deleted';
END
$$;
CREATE TRIGGER check_model_request BEFORE INSERT OR UPDATE OR DELETE ON api.model_requests
FOR EACH ROW EXECUTE FUNCTION api.check_model_request();
CREATE TRIGGER keep_model_requests BEFORE TRUNCATE ON api.model_requests
FOR EACH STATEMENT EXECUTE FUNCTION api.check_model_request();

GRANT SELECT,
INSERT (kind, version, to_stage, champion, days, is_urgent, reason, requested_by, status, decided_by, decided_at,
    decision_reason),
UPDATE (status, decided_by, decided_at, decision_reason, reviewed_by, reviewed_at, review_reason)
ON api.model_requests TO streamflow_api;
GRANT USAGE ON SCHEMA api TO streamflow_models;
GRANT SELECT, UPDATE (gate, gate_passed, gate_error, gate_at, taken_at, outcome, outcome_at, control_id, error)
ON api.model_requests TO streamflow_models;
-- It adds the outcome to the chain of the audit.
GRANT SELECT, INSERT ON api.reads TO streamflow_models;
