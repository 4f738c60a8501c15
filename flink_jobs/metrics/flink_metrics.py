"""Metrics of Flink and its Kafka connector that rules and dashboards may name, as its Prometheus reporter spells them.

Flink 2.2's documentation lists them under "System metrics"; a test finds each of them on a running cluster.
"""

from __future__ import annotations

from typing import Final

_OPERATOR: Final = "flink_taskmanager_job_task_operator_"

FLINK_METRICS: Final = {
    "flink_jobmanager_job_runningTime": "milliseconds in state RUNNING; 0 in any other",
    "flink_jobmanager_job_numRestarts": "restarts since the job was submitted",
    "flink_jobmanager_job_numberOfFailedCheckpoints": "failed checkpoints",
    "flink_jobmanager_job_lastCheckpointCompletedTimestamp": "when the last checkpoint was complete, Unix milliseconds",
    "flink_jobmanager_job_lastCheckpointDuration": "milliseconds the last checkpoint took",
    "flink_jobmanager_job_lastCheckpointFullSize": "bytes of the last checkpoint, what it shares with others included",
    "flink_jobmanager_numRegisteredTaskManagers": "TaskManagers",
    "flink_jobmanager_taskSlotsAvailable": "free task slots",
    "flink_taskmanager_Status_JVM_Memory_Heap_Used": "bytes of heap in use",
    "flink_taskmanager_Status_JVM_GarbageCollector_All_TimeMsPerSecond": "milliseconds of a second spent collecting",
    "flink_taskmanager_job_task_busyTimeMsPerSecond": "milliseconds of a second a task worked",
    "flink_taskmanager_job_task_backPressuredTimeMsPerSecond": "milliseconds of a second a task waited for the next",
    f"{_OPERATOR}currentEmitEventTimeLag": "milliseconds between a record's timestamp and its leaving the source",
    f"{_OPERATOR}pendingRecords": "records of the source's partitions that were not fetched yet",
    f"{_OPERATOR}numRecordsOut": "records an operator has passed on",
    f"{_OPERATOR}numRecordsSendErrors": "records a sink could not send",
    f"{_OPERATOR}KafkaSourceReader_KafkaConsumer_records_lag_max": "records the last fetch was behind, at most",
    f"{_OPERATOR}KafkaSourceReader_commitsSucceeded": "offset commits that succeeded",
    f"{_OPERATOR}KafkaSourceReader_commitsFailed": "offset commits that failed",
}
