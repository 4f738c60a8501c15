"""Which models a running job has beside its champion, and who is decided by them."""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

_HASH_RANGE: Final = 1 << 64


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model version, and the digest of the arrays that are meant by it."""

    version: str
    digest: str
    """SHA-256 (hex) of the arrays; a job that finds others under this version does not use them."""


@dataclass(frozen=True, slots=True)
class GuardBand:
    """What a challenger may do before its experiment ends."""

    min_decisions: int = 1_000
    """Decisions of each of the two models in this subtask before alert rates are compared."""
    max_alert_rate_ratio: float = 2.0
    """Alert rate of the challenger over the champion's: at most this."""
    min_alert_rate_ratio: float = 0.5
    """And at least this: a model that sees nothing is no better than one that sees fraud everywhere."""
    max_error_share: float = 0.01
    """Share of the challenger's events on which it failed, so that the champion decided, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """A/B test: a share of the customers is decided by a challenger."""

    id: str
    """Also the salt of the split: another experiment divides the customers anew."""
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
        """Id of the control message by which the guard ends it: the same from every subtask, so that it is one."""
        return f"guard-{self.id}"


class CustomerSplit:
    """Tells whether a customer belongs to the share of an experiment: the same answer everywhere, for ever.

    >>> split = CustomerSplit("spring", 0.25)
    >>> sum(split.has(f"c-{number}") for number in range(10_000))
    2489
    """

    def __init__(self, experiment_id: str, share: float) -> None:
        """Prepare the hash; the id (64 characters at most) is its key."""
        self._seed = blake2b(digest_size=8, key=experiment_id.encode())
        self._below = int(share * _HASH_RANGE)

    def has(self, customer_id: str) -> bool:
        """Tell whether the challenger decides for this customer."""
        keyed = self._seed.copy()
        keyed.update(customer_id.encode())
        return int.from_bytes(keyed.digest(), "big") < self._below
