-- Undo of 0032. Messages in the outbox keep their alerts.
-- lock: raw.alerts, cases.webhooks
-- lost: alerts with a terminal, device, card or IP address: SELECT count(*) FROM raw.alerts WHERE num_nonnulls(terminal, device, card, ip) > 0
-- lost: receivers of webhooks with ids: SELECT count(*) FROM cases.webhooks WHERE has_ids
ALTER TABLE raw.alerts DROP COLUMN terminal, DROP COLUMN device, DROP COLUMN card, DROP COLUMN ip;
ALTER TABLE cases.webhooks DROP COLUMN has_ids;
