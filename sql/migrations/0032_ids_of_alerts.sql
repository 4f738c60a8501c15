-- Receivers of webhooks may get the terminal, device, card and IP address of a case's alerts. An alert often arrives a checkpoint
-- before its decision, so its own row has them.

-- As in raw.decisions: null where the transaction has none, and before this migration.
ALTER TABLE raw.alerts ADD COLUMN terminal text,
ADD COLUMN device text,
ADD COLUMN card text, -- a token, or **** and the last four digits of a number that came in the clear
ADD COLUMN ip text; -- the form of RFC 5952

ALTER TABLE cases.webhooks ADD COLUMN has_ids boolean NOT NULL DEFAULT false; -- whether its messages list the alerts with them
