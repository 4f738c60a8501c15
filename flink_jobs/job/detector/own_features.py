"""Own features in the detector: loads the modules that the job graph carries, and counts their faults."""

from collections.abc import Sequence

from flink_jobs.core.own_features.loading import load_features
from flink_jobs.core.own_features.source import FeatureSource
from flink_jobs.core.own_features.values import OwnValues
from flink_jobs.job.detector.detector_metrics import DetectorMetrics
from flink_jobs.job.log import log_event
from flink_jobs.metrics import catalogue


def open_own_features(sources: Sequence[FeatureSource], metrics: DetectorMetrics) -> OwnValues | None:
    """Return the own features of one parallel instance; ``None`` without any.

    Raises:
        OwnFeatureError: a module cannot be loaded; ``detect`` has loaded the same text before it submitted the job.
    """
    if not sources:
        return None
    features = load_features(sources)
    own = OwnValues(features)

    def count() -> None:
        for fault, number in own.take_faults().items():
            if number:
                metrics.count(catalogue.OWN_FEATURE_FAULTS, fault, number)

    metrics.before_flush(count)
    for module in features.modules:
        names = ", ".join(item.spec.name for item in module.features)
        log_event("own_features", module=module.name, version=module.sha256, features=names)
    return own
