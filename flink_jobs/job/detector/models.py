"""Loads the models of one parallel instance for their roles, and reports model faults."""

from collections.abc import Iterable, Iterator

from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.control.experiment import Experiment
from flink_jobs.core.control.messages import end_of_experiment
from flink_jobs.core.models.faults import ModelError
from flink_jobs.core.models.lineup import Lineup, Model, Role
from flink_jobs.core.outcome import Outcome
from flink_jobs.core.own_features.values import OwnValues
from flink_jobs.core.scoring import blend_in_force
from flink_jobs.job.detector.detector_metrics import DetectorMetrics
from flink_jobs.job.detector.merchant_rows import MerchantRows
from flink_jobs.job.detector.operator_settings import DetectorSettings
from flink_jobs.job.log import log_event
from flink_jobs.metrics import catalogue


def keyed(key: str, value: str) -> str:
    """Return a message key and its value as one string for the sinks, which split it at the first line feed."""
    return f"{key}\n{value}"


class JobModels:
    """Loads models into the lineup; logs and counts every model fault once."""

    def __init__(
        self,
        settings: DetectorSettings,
        metrics: DetectorMetrics,
        lineup: Lineup,
        merchants: MerchantRows | None = None,
        own: OwnValues | None = None,
    ) -> None:
        """Keep the parts; no model is loaded yet. A model that needs ``merchants`` or ``own`` is refused without."""
        parts = {"histories": None if merchants is None else merchants.table, "own": own}
        self._inputs = {name: part for name, part in parts.items() if part is not None}
        self._settings = settings
        self._metrics = metrics
        self._lineup = lineup

    def start(self, config: DetectionConfig) -> None:
        """Load the champion with which the job was started."""
        self.put(Role.CHAMPION, self._settings.model_version, None)
        self._log_blend(config)

    def use(self, config: DetectionConfig, roles: Iterable[Role]) -> str:
        """Load the models of a configuration for some roles; return the problems as one text, or an empty text.

        Without a champion in the configuration, the champion with which the job was started stays.
        """
        problems = []
        shadow, experiment = config.shadow_model, config.experiment
        for role in roles:
            if role is Role.CHAMPION and config.model_version is not None:
                problems.append(self.put(role, config.model_version, config.model_digest))
            elif role is Role.SHADOW and shadow is not None:
                problems.append(self.put(role, shadow.version, shadow.digest))
            elif role is Role.SHADOW:
                self._lineup.use_shadow(None)
            elif role is Role.CHALLENGER and experiment is not None:
                problems.append(self.put(role, experiment.version, experiment.digest, experiment))
            elif role is Role.CHALLENGER:
                self._lineup.use_challenger(None, None)
        self._log_blend(config)
        return "; ".join(problem for problem in problems if problem is not None)

    def put(
        self, role: Role, version: str | None, digest: str | None, experiment: Experiment | None = None
    ) -> str | None:
        """Load a model for a role, or continue without one; return the problem, if any."""
        model: Model | None = None
        problem = None
        settings = self._settings
        if version is None:
            problem = f"no model version is configured, and {settings.model_dir} has no current model"
        else:
            try:
                model = settings.find_model(
                    settings.model_dir, settings.artifact_store, version, digest, **self._inputs
                )
            except ModelError as error:
                problem = str(error)
        if role is Role.CHAMPION:
            self._lineup.use_champion(model)
        elif role is Role.SHADOW:
            self._lineup.use_shadow(model)
        else:
            self._lineup.use_challenger(model, experiment)
        if problem is not None:
            self._metrics.count(catalogue.MODEL_FAULTS)
            without = "rules alone" if role is Role.CHAMPION else "the champion"
            log_event("model_unavailable", role=role, version=version, detail=problem, scoring=without)
        return problem

    def _log_blend(self, config: DetectionConfig) -> None:
        """Log the ``alpha`` and the alert threshold in force for the champion, and what set each of them."""
        champion = self._lineup.champion
        version = None if champion.model is None else champion.model.version
        log_event(
            "blend_in_force",
            revision=config.revision,
            model=version,
            **blend_in_force(config, champion.own_blend)._asdict(),
        )

    def report(self, outcome: Outcome, now_ms: int) -> Iterator[str]:
        """Log and count model faults; yield the control message for an experiment that its guard stopped."""
        for notice in outcome.notices:
            self._metrics.count(catalogue.MODEL_FAULTS)
            if notice.is_cut_off:
                self._metrics.count(catalogue.MODEL_CUT_OFFS, notice.role)
            log_event("model_cut_off" if notice.is_cut_off else "model_fault", **notice._asdict())
        if outcome.stopped is not None:
            experiment, why = outcome.stopped
            self._metrics.count(catalogue.EXPERIMENT_STOPS)
            log_event("experiment_stopped", experiment=experiment.id, challenger=experiment.version, detail=why)
            yield keyed(experiment.guard_control_id, end_of_experiment(experiment, why, now_ms))
