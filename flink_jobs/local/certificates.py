"""Certificates of the local stack: its own authority, which signs those of the servers and of the administrator.

They are made once per home folder, and again 14 days before they expire. Only ``streamflow up --secure`` uses them; a
production installation has its own authority.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from flink_jobs.local.ports import HOST

LIFETIME = timedelta(days=397)
RENEW_BEFORE = timedelta(days=14)
BROKER, ADMIN, POSTGRES, FLINK = "streamflow-broker", "streamflow-admin", "streamflow-postgres", "streamflow-flink"
REDIS = "streamflow-redis"
_NAMES = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(HOST))]


@dataclass(frozen=True)
class Certificates:
    """The files of one stack's certificates, all in one folder of mode 0700."""

    folder: Path

    @property
    def authority(self) -> Path:
        """The authority's certificate. Its key is not kept, so no further certificate can be signed."""
        return self.folder / "ca.pem"

    def pair(self, name: str) -> Path:
        """Return the PEM file with key and certificate of a server or client."""
        return self.folder / f"{name}.pem"

    @property
    def flink_store(self) -> Path:
        """Key, certificate and authority of Flink's own processes, as PKCS #12."""
        return self.folder / "flink.p12"

    @property
    def flink_store_password(self) -> str:
        """The password of ``flink_store``."""
        return (self.folder / "flink.password").read_text(encoding="ascii")

    def ensure(self) -> bool:
        """Create the files unless they exist and are valid for long enough; return whether they were created."""
        if self._last():
            return False
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        authority = _sign(f"streamflow local authority {secrets.token_hex(4)}", key.public_key(), None, key)
        for name in (BROKER, ADMIN, POSTGRES, REDIS):
            own = ec.generate_private_key(ec.SECP256R1())
            pem = own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            signed = _sign(name, own.public_key(), authority, key)
            _write(self.pair(name), pem + signed.public_bytes(Encoding.PEM) + authority.public_bytes(Encoding.PEM))
        self._write_flink_store(authority, key)
        _write(
            self.authority, authority.public_bytes(Encoding.PEM)
        )  # written last: its presence means that the set is complete
        return True

    def _write_flink_store(self, authority: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        own, password = ec.generate_private_key(ec.SECP256R1()), secrets.token_urlsafe(24)
        signed = _sign(FLINK, own.public_key(), authority, key)
        _write(self.folder / "flink.password", password.encode())
        trusted = pkcs12.PKCS12Certificate(authority, b"authority")
        encryption = BestAvailableEncryption(password.encode())
        store = pkcs12.serialize_key_and_certificates(b"flink", own, signed, [authority], encryption)
        _write(self.flink_store, store)
        _write(self.flink_trust, pkcs12.serialize_java_truststore([trusted], encryption))

    @property
    def flink_trust(self) -> Path:
        """Trust store of Flink's processes; it holds the authority alone."""
        return self.folder / "flink-trust.p12"

    def _last(self) -> bool:
        # A folder of an older release has no certificate of Redis; the authority's key is gone, so all are made anew.
        if not (self.authority.exists() and self.pair(REDIS).exists()):
            return False
        ends = x509.load_pem_x509_certificate(self.authority.read_bytes()).not_valid_after_utc
        return ends - datetime.now(UTC) > RENEW_BEFORE


def _sign(
    name: str,
    public_key: ec.EllipticCurvePublicKey,
    authority: x509.Certificate | None,
    key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    """Return a certificate for ``name`` on this machine; without an authority, that of a new authority."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.subject if authority else subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # for clocks that are behind
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
    )
    if authority is not None:
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = builder.add_extension(x509.SubjectAlternativeName(_NAMES), critical=False).add_extension(
            usage, critical=False
        )
    return builder.sign(key, hashes.SHA256())


def _write(path: Path, content: bytes) -> None:
    """Write a file that has mode 0600 from its first byte on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
