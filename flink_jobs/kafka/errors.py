"""The errors of Kafka's clients, as messages that name the broker, the cause and the fix."""

from __future__ import annotations

from kafka.errors import AuthorizationError, SaslAuthenticationFailedError

from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.kafka.broker import Broker


def connection_error(broker: Broker, cause: Exception) -> UserError:
    """Return the error of a kafka-python client that could not connect or has no right to connect."""
    if isinstance(cause, SaslAuthenticationFailedError):
        return wrong_password(broker)
    if isinstance(cause, AuthorizationError):
        return denied(broker, type(cause).__name__)
    return unreachable(broker, type(cause).__name__)


def wrong_password(broker: Broker) -> UserError:
    """Return the error of an account whose password the broker does not accept."""
    return UserError(
        f"Kafka at {broker} refuses the password of {broker.user}",
        f"check the file {broker.password_file}; `streamflow up` renews the passwords of the local stack",
        ErrorCode.KAFKA_DENIED,
    )


def unreachable(broker: Broker, cause: str) -> UserError:
    """Return the error of a broker that does not answer; ``cause`` is the client's name for it."""
    fix = "run `streamflow up`, or set STREAMFLOW_KAFKA_BOOTSTRAP_SERVERS and STREAMFLOW_KAFKA_SECURITY_PROTOCOL"
    if broker.user:
        # kafka-python retries until its time limit and then no longer names the cause.
        fix += f"; a password that is not that of {broker.user} and a wrong authority give the same error"
    what = f"no Kafka broker answers at {broker} with {broker.protocol} ({cause})"
    return UserError(what, fix, ErrorCode.KAFKA_UNREACHABLE)


def no_topic(broker: Broker, topic: str) -> UserError:
    """Return the error of a missing topic. Kafka also hides the topics that an account may not use."""
    seen_by = f" that {broker.user} may use" if broker.user else ""
    return UserError(
        f"there is no topic {topic} at {broker}{seen_by}",
        "`streamflow up` creates the topics; STREAMFLOW_TOPIC_PREFIX names their prefix",
    )


def denied(broker: Broker, cause: str) -> UserError:
    """Return the error of an account that lacks a right; ``cause`` is the client's name for it."""
    return UserError(
        f"Kafka at {broker} does not let {broker.user or 'this account'} do that ({cause})",
        "the rights of an account follow from the producers and consumers in flink_jobs/contracts/topics",
        ErrorCode.KAFKA_DENIED,
    )
