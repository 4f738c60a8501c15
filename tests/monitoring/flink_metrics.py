"""Metrics of Flink and its Kafka connector that rules and dashboards can name, with their names in Prometheus.

Flink 2.2's documentation lists them under "System metrics". A test checks that a running cluster exposes each of them.
"""

from __future__ import annotations

from typing import Final

_OPERATOR: Final = "flink_taskmanager_job_task_operator_"

FLINK_METRICS: Final = {
    "flink_jobmanager_job_runningTime": "milliseconds in state RUNNING; 0 in any other state",
    "flink_jobmanager_job_numRestarts": "restarts since the job was submitted",
    "flink_jobmanager_job_numberOfFailedCheckpoints": "failed checkpoints",
    "flink_jobmanager_job_lastCheckpointCompletedTimestamp": "end of the last completed checkpoint, Unix milliseconds",
    "flink_jobmanager_job_lastCheckpointDuration": "duration of the last checkpoint, milliseconds",
    "flink_jobmanager_job_lastCheckpointFullSize": "size of the last checkpoint with its shared files, bytes",
    "flink_jobmanager_numRegisteredTaskManagers": "registered TaskManagers",
    "flink_jobmanager_taskSlotsAvailable": "free task slots",
    "flink_taskmanager_Status_JVM_Memory_Heap_Used": "heap in use, bytes",
    "flink_taskmanager_Status_JVM_GarbageCollector_All_TimeMsPerSecond": "garbage collection, milliseconds per second",
    "flink_taskmanager_job_task_busyTimeMsPerSecond": "working time of a task, milliseconds per second",
    "flink_taskmanager_job_task_backPressuredTimeMsPerSecond": "time a task waited for the next, ms per second",
    f"{_OPERATOR}currentEmitEventTimeLag": "time from a record's timestamp to its emission by the source, milliseconds",
    f"{_OPERATOR}pendingRecords": "backlog of the source: records in its partitions that are not fetched yet",
    f"{_OPERATOR}numRecordsOut": "records an operator has emitted",
    f"{_OPERATOR}numRecordsSendErrors": "records a sink failed to send",
    f"{_OPERATOR}KafkaSourceReader_KafkaConsumer_records_lag_max": "largest consumer lag at the last fetch, records",
    f"{_OPERATOR}KafkaSourceReader_commitsSucceeded": "offset commits that succeeded",
    f"{_OPERATOR}KafkaSourceReader_commitsFailed": "offset commits that failed",
}
