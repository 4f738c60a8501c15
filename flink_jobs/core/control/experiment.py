"""Shadow models and experiments, and which customers an experiment scores with its challenger."""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

_HASH_RANGE: Final = 1 << 64


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model version and the digest of its arrays."""

    version: str
    digest: str
    """SHA-256 (hex) of the arrays; a job does not use a model with this version and other arrays."""


@dataclass(frozen=True, slots=True)
class GuardBand:
    """Limits for a challenger; outside of them its experiment is stopped."""

    min_decisions: int = 1_000
    """Decisions of each of the two models in one subtask before the alert rates are compared."""
    max_alert_rate_ratio: float = 2.0
    """Highest allowed ratio of the challenger's alert rate to the champion's."""
    min_alert_rate_ratio: float = 0.5
    """Lowest allowed ratio: a model without alerts is as wrong as a model with too many."""
    max_error_share: float = 0.01
    """Highest allowed share of the challenger's transactions that it failed to score, so the champion did, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """A/B test: a challenger scores for a share of the customers."""

    id: str
    """Also the salt of the split: each experiment divides the customers differently."""
    version: str
    digest: str
    share: float
    """Share of customers, 0 to 1."""
    guard: GuardBand = GuardBand()

    @property
    def model(self) -> ModelRef:
        """The challenger."""
        return ModelRef(self.version, self.digest)

    @property
    def guard_control_id(self) -> str:
        """Id of the control message with which the guard stops it: every subtask sends the same id."""
        return f"guard-{self.id}"


class CustomerSplit:
    """Splits customers by a hash: a customer is in an experiment's share or not, on every subtask and for ever.

    >>> split = CustomerSplit("spring", 0.25)
    >>> sum(split.has(f"c-{number}") for number in range(10_000))
    2489
    """

    def __init__(self, experiment_id: str, share: float) -> None:
        """Prepare the hash; its key is the experiment's id (at most 64 characters)."""
        self._seed = blake2b(digest_size=8, key=experiment_id.encode())
        self._below = int(share * _HASH_RANGE)

    def has(self, customer_id: str) -> bool:
        """Return whether the challenger scores for this customer."""
        keyed = self._seed.copy()
        keyed.update(customer_id.encode())
        return int.from_bytes(keyed.digest(), "big") < self._below
