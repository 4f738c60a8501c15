"""The connection to Kafka: the address and, on a secured cluster, the account, its credentials and the authority.

One value serves all clients: kafka-python, confluent-kafka, and the Java client inside Flink's connector. Passwords
stay in their files: the Java client reads its file when it connects, so no job graph, savepoint or log holds one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from flink_jobs.errors import UserError

MECHANISM: Final = "SCRAM-SHA-512"
# Flink's connector contains Kafka's classes under renamed packages.
_SHADED: Final = "org.apache.flink.kafka.shaded.org.apache.kafka.common"


@dataclass(frozen=True, slots=True)
class Broker:
    """A Kafka cluster, and the account that connects to it.

    Without ``ca_file`` the connection is plain text. With it the connection uses TLS, and the broker must present a
    certificate that this authority signed for its host name. The client then logs in with SCRAM (``user`` and the file
    with the password), or with its own certificate (``certificate``: key and certificate in one PEM file).
    """

    servers: str
    """``host:port`` of one or more brokers, separated by commas."""
    ca_file: Path | None = None
    user: str | None = None
    password_file: Path | None = None
    certificate: Path | None = None

    def __str__(self) -> str:
        """Return the address, for messages."""
        return self.servers

    @property
    def protocol(self) -> str:
        """Kafka's name of the security protocol."""
        if self.ca_file is None:
            return "PLAINTEXT"
        return "SSL" if self.certificate is not None else "SASL_SSL"

    def client(self) -> dict[str, Any]:
        """Return the arguments for kafka-python's clients.

        Raises:
            UserError: the password's or a certificate's file cannot be read.
        """
        options: dict[str, Any] = {"bootstrap_servers": self.servers, "security_protocol": self.protocol}
        if self.ca_file is not None:
            options["ssl_cafile"] = _readable(self.ca_file)
        if self.certificate is not None:
            options["ssl_certfile"] = options["ssl_keyfile"] = _readable(self.certificate)
        elif self.password_file is not None:
            _readable(self.password_file)
            options |= {
                "sasl_mechanism": MECHANISM,
                "sasl_plain_username": self.user,
                "sasl_plain_password": self.password_file.read_text(encoding="utf-8").strip(),
            }
        return options

    def librdkafka(self) -> dict[str, Any]:
        """Return the options for confluent-kafka's clients.

        Raises:
            UserError: the password's or a certificate's file cannot be read.
        """
        names = {
            "bootstrap_servers": "bootstrap.servers",
            "security_protocol": "security.protocol",
            "ssl_cafile": "ssl.ca.location",
            "ssl_certfile": "ssl.certificate.location",
            "ssl_keyfile": "ssl.key.location",
            "sasl_mechanism": "sasl.mechanism",
            "sasl_plain_username": "sasl.username",
            "sasl_plain_password": "sasl.password",
        }
        return {names[name]: value for name, value in self.client().items()}

    def connector(self) -> dict[str, str]:
        """Return the ``properties.*`` options of Flink's Kafka tables: SCRAM, or plain.

        The password's file must be at the same path on every TaskManager; it holds the password and nothing else.
        """
        options = {"bootstrap.servers": self.servers}
        if self.ca_file is not None and self.password_file is not None:
            folder, name = self.password_file.parent, self.password_file.name
            password = f"${{directory:{folder}:{name}}}"
            options |= {
                "security.protocol": self.protocol,
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(self.ca_file),
                "sasl.mechanism": MECHANISM,
                "sasl.jaas.config": f"{_SHADED}.security.scram.ScramLoginModule required "
                f'username="{self.user}" password="{password}";',
                "config.providers": "directory",
                "config.providers.directory.class": f"{_SHADED}.config.provider.DirectoryConfigProvider",
                "config.providers.directory.param.allowed.paths": str(folder),
            }
        return {f"properties.{name}": value for name, value in options.items()}


def sql_options(options: dict[str, str]) -> str:
    """Return table options as SQL: ``'name' = 'value', ...`` with quotes doubled."""
    return ", ".join(f"'{name}' = '{value.replace(chr(39), chr(39) * 2)}'" for name, value in options.items())


def _readable(path: Path) -> str:
    try:
        with path.open("rb"):
            return str(path)
    except OSError as error:
        raise UserError(
            f"cannot read {path} ({error.strerror})", "run as the owner of the file, or correct the setting"
        ) from None
