-- Undo of 0017.
DROP INDEX raw.alerts_transaction;
