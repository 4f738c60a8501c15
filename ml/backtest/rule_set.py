"""A rule set as a YAML file, with the names of a control message's ``changes``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import orjson

from flink_jobs.contracts.document import read_document
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.control.messages import CONTROL_SCHEMA_VERSION, ControlMessage, apply_control, parse_control
from flink_jobs.errors import UserError

_RULE_SETTINGS: Final = frozenset({"alpha", "alert_threshold", "rules", "blacklist"})


class RuleSetChanges:
    """Changes to the rule set of a configuration, checked as the running job checks them."""

    def __init__(self, changes: dict[str, Any], name: str) -> None:
        """Check the changes.

        Args:
            changes: ``alpha``, ``alert_threshold``, ``rules`` and ``blacklist`` as in a control message.
            name: source of the changes, for errors.

        Raises:
            UserError: the job would reject the changes.
        """
        document = {
            "schema_version": CONTROL_SCHEMA_VERSION, "control_id": "backtest", "issued_by": "backtest",
            "issued_at_ms": 0, "reason": "backtest", "changes": changes,
        }  # fmt: skip
        try:
            message = parse_control(orjson.dumps(document))
        except TypeError as error:  # YAML allows dates, and numbers as keys; a control message does not
            raise UserError(f"{name}: {error}", "use only texts, numbers, true and false") from None
        if not isinstance(message, ControlMessage):
            raise UserError(f"{name}: {message.detail}", "use the names of `streamflow control send`")
        self._message = message
        self.changes = changes
        self.has_blacklist = "blacklist" in changes

    def on(self, config: DetectionConfig) -> DetectionConfig:
        """Return the configuration with the changes.

        Raises:
            UserError: the changes contradict the configuration.
        """
        changed = apply_control(config, self._message)
        if not isinstance(changed, DetectionConfig):
            raise UserError(f"the rule set cannot be applied: {changed.detail}", "correct the rule set")
        return changed


def read_rule_set(path: Path) -> RuleSetChanges:
    """Read a rule-set file.

    Example::

        alpha: 0.3
        alert_threshold: 0.45
        rules:
          velocity: {threshold: 4, weight: 0.4}
          unusual_time: {enabled: false}

    Raises:
        UserError: the file cannot be read, or has a name that the job does not have.
    """
    document = read_document(path)
    changes = {name: document.raw(name) for name in document.names()}
    models = sorted(changes.keys() - _RULE_SETTINGS)
    if models:
        fix = f"use only {', '.join(sorted(_RULE_SETTINGS))}; choose a model with --model"
        raise UserError(f"{path}: {models[0]} is not a rule setting", fix)
    return RuleSetChanges(changes, str(path))
