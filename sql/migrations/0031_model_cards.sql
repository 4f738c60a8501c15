-- Model cards, and the facts that people state about a model: owner, developer, validator, approver and others. A promotion can
-- require them (STREAMFLOW_PROMOTION_REQUIRES).

-- Grain: one card of a model version; the newest counts. Append-only.
CREATE TABLE ml.model_cards (
    card_id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version             text NOT NULL REFERENCES ml.model_versions,
    card                text NOT NULL CHECK (octet_length(card) BETWEEN 1 AND 1048576), -- Markdown
    facts               jsonb NOT NULL, -- of the governance file, as far as they are stated
    recorded_by         text NOT NULL,
    reason              text NOT NULL,
    recorded_at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX model_cards_version ON ml.model_cards (version, card_id);

CREATE FUNCTION ml.keep_card() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ml.model_cards is append-only';
END
$$;
CREATE TRIGGER model_cards_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ml.model_cards
FOR EACH STATEMENT EXECUTE FUNCTION ml.keep_card();

GRANT SELECT, INSERT ON ml.model_cards TO streamflow_models;
