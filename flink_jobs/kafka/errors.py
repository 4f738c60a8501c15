"""What a failed exchange with Kafka means for the person who wanted it."""

from __future__ import annotations

from kafka.errors import AuthorizationError, KafkaError, SaslAuthenticationFailedError

from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.kafka.broker import Broker


def connection_error(broker: Broker, cause: Exception) -> UserError:
    """Return the error of a client that could not connect, or was let in no further than the door."""
    if isinstance(cause, SaslAuthenticationFailedError):
        return UserError(
            f"Kafka at {broker} refuses the password of {broker.user}",
            f"check the file {broker.password_file}; `streamflow up` renews those of the local stack",
            ErrorCode.KAFKA_DENIED,
        )
    if isinstance(cause, AuthorizationError):
        return denied(broker, cause)
    fix = "run `streamflow up`, or set STREAMFLOW_KAFKA_BOOTSTRAP_SERVERS and STREAMFLOW_KAFKA_SECURITY_PROTOCOL"
    if broker.user:
        # kafka-python goes on trying until its time is up, and then no longer says why.
        fix += f"; a password that is not that of {broker.user} and a wrong authority look the same from here"
    what = f"no Kafka broker answers at {broker} with {broker.protocol} ({type(cause).__name__})"
    return UserError(what, fix, ErrorCode.KAFKA_UNREACHABLE)


def no_topic(broker: Broker, topic: str) -> UserError:
    """Return the error of a topic that is not there for this account: Kafka hides what one may not see."""
    seen_by = f" that {broker.user} may use" if broker.user else ""
    return UserError(
        f"there is no topic {topic} at {broker}{seen_by}",
        "`streamflow up` creates the topics; STREAMFLOW_TOPIC_PREFIX names their prefix",
    )


def denied(broker: Broker, cause: KafkaError) -> UserError:
    """Return the error of an account that lacks a right."""
    return UserError(
        f"Kafka at {broker} does not let {broker.user or 'this account'} do that ({type(cause).__name__})",
        "who may do what follows from the producers and consumers in flink_jobs/contracts/topics",
        ErrorCode.KAFKA_DENIED,
    )
