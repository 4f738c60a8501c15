"""The time to live of keyed state."""

from pyflink.common import Time
from pyflink.datastream.state import StateTtlConfig


def time_to_live(days: int) -> StateTtlConfig:
    """Return the time to live of a customer's state: days of processing time without a transaction.

    PyFlink's defaults for the clean-up create a Java ``Duration`` through a gateway: that starts a second JVM beside
    the TaskManager in thread mode, and fails in process mode. Setting every part avoids them. Only the number of
    entries reaches RocksDB's filter; its periodic compaction uses Flink's default, 30 days.
    """
    return (
        StateTtlConfig.new_builder(Time.days(days))
        .set_update_type(StateTtlConfig.UpdateType.OnCreateAndWrite)
        .set_state_visibility(StateTtlConfig.StateVisibility.NeverReturnExpired)
        .cleanup_in_rocksdb_compact_filter(10_000, periodic_compaction_time="not passed on by PyFlink")
        .disable_cleanup_in_background()
        .build()
    )
