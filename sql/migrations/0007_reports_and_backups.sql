-- What the nightly runs note: dead letters by day, backups that were restored, and how far Kafka's records have come.

-- Grain: a reason, at a stage, for which records were set aside on a UTC day.
CREATE TABLE ops.dead_letter_report (
    set_aside_on    date NOT NULL,
    stage           text NOT NULL,
    reason          text NOT NULL,
    disposition     text NOT NULL,
    letters         bigint NOT NULL,
    usual_letters   double precision NOT NULL, -- a day, over the seven days before
    example_id      text NOT NULL, -- of the newest: `streamflow dlq show` has it in full
    example_place   text NOT NULL, -- topic, partition and offset of its record
    example_detail  text NOT NULL,
    reported_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (set_aside_on, stage, reason, disposition)
);

-- Grain: one backup. It counts from the moment it was restored elsewhere and compared.
CREATE TABLE ops.backups (
    backup_name     text PRIMARY KEY,
    taken_at        timestamptz NOT NULL,
    size_bytes      bigint NOT NULL,
    table_count     integer NOT NULL,
    row_count       bigint NOT NULL,
    verified_at     timestamptz -- NULL: not restored yet
);

-- Grain: one partition of a topic, as it was when somebody last looked.
-- Topics of ours are read by one job: transactions by the detector, the others by the archive.
CREATE TABLE ops.kafka_positions (
    topic           text NOT NULL,
    partition       integer NOT NULL,
    first_offset    bigint NOT NULL, -- the oldest record that Kafka still has
    end_offset      bigint NOT NULL, -- of the next record
    read_offset     bigint, -- the job has committed up to here; NULL: it has not begun
    waiting         bigint NOT NULL, -- committed records the job has not read
    missing         bigint, -- records the detector has read that have no row; NULL where it is not asked
    observed_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON ops.dead_letter_report TO streamflow_transformer;
GRANT SELECT, INSERT, UPDATE ON ops.backups, ops.kafka_positions TO streamflow_transformer;
