-- Undo of 0031.
-- lock: ml.model_cards
-- lost: model cards: SELECT count(*) FROM ml.model_cards
DROP TABLE ml.model_cards;
DROP FUNCTION ml.keep_card();
