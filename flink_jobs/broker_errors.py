"""What a failed exchange with Kafka means for the person who wanted it."""

from __future__ import annotations

from kafka.errors import AuthorizationError, KafkaError, SaslAuthenticationFailedError

from flink_jobs.broker import Broker
from flink_jobs.errors import UserError


def connection_error(broker: Broker, cause: Exception) -> UserError:
    """Return the error of a client that could not connect, or was let in no further than the door."""
    if isinstance(cause, SaslAuthenticationFailedError):
        return UserError(
            f"Kafka at {broker} refuses the password of {broker.user}",
            f"check the file {broker.password_file}; `streamflow up` renews those of the local stack",
        )
    if isinstance(cause, AuthorizationError):
        return denied(broker, cause)
    return UserError(
        f"no Kafka broker answers at {broker} with {broker.protocol} ({type(cause).__name__})",
        "run `streamflow up`, or set STREAMFLOW_KAFKA_BOOTSTRAP_SERVERS and STREAMFLOW_KAFKA_SECURITY_PROTOCOL",
    )


def denied(broker: Broker, cause: KafkaError) -> UserError:
    """Return the error of an account that lacks a right."""
    return UserError(
        f"Kafka at {broker} does not let {broker.user or 'this account'} do that ({type(cause).__name__})",
        "who may do what follows from the producers and consumers in flink_jobs/contracts/topics",
    )
