"""A small certificate authority (X.509, RFC 5280) on elliptic curves, through `cryptography`."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from core.contracts.errors import SettingsError

#: An authority is good for so long.
AUTHORITY_LIFE = timedelta(days=3650)
#: Gateways without a battery may live in the past when they start.
_BACKDATED = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, in PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Facts:
    """What a certificate says of itself."""

    name: str
    serial: str
    until: datetime
    hosts: frozenset[str]


class Authority:
    """Signs certificates of one kind of holder; ``pair`` is its own."""

    def __init__(self, pair: Pair, source: str) -> None:
        """Raise :class:`SettingsError` that names ``source`` when the pair is unusable."""
        self.pair = pair
        try:
            self._certificate = x509.load_pem_x509_certificate(pair.certificate)
            key = serialization.load_pem_private_key(pair.key, None)
        except (ValueError, TypeError) as error:
            raise SettingsError(
                f"{source}: the authority cannot be read ({error}); restore it from a backup"
            ) from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or (
            key.public_key() != self._certificate.public_key()
        ):
            raise SettingsError(f"{source}: key and certificate of the authority do not belong "
                                "together; restore both from a backup")  # fmt: skip
        self._key = key
        self.until = self._certificate.not_valid_after_utc

    @classmethod
    def new(cls, name: str, now: datetime) -> Authority:
        """Return a new authority."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(name)
        certificate = (
            _builder(subject, subject, key, now, now + AUTHORITY_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(_pair(certificate, key), name)

    def issue(
        self, name: str, *, now: datetime, days: int, hosts: Iterable[str] = ()
    ) -> tuple[Pair, Facts]:
        """Return a new key and its certificate; with ``hosts`` a server's, else a client's.

        It ends with the authority at the latest.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        until = min(now + timedelta(days=days), self.until)
        issuer = self._certificate.subject
        names = sorted(set(hosts))
        kind = ExtendedKeyUsageOID.SERVER_AUTH if names else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            _builder(_name(name), issuer, key, now, until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([kind]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if names:
            alternatives = x509.SubjectAlternativeName([_host(host) for host in names])
            builder = builder.add_extension(alternatives, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return _pair(certificate, key), _facts(certificate)

    def examine(self, pair: Pair) -> Facts | None:
        """Return what a pair says, or None when it is no whole pair of this authority's."""
        try:
            certificate = x509.load_pem_x509_certificate(pair.certificate)
            key = serialization.load_pem_private_key(pair.key, None)
            certificate.verify_directly_issued_by(self._certificate)
        except Exception:  # noqa: BLE001  (InvalidSignature has no base of its own)
            return None
        return _facts(certificate) if key.public_key() == certificate.public_key() else None

    def revocations(self, revoked: dict[str, datetime], now: datetime) -> bytes:
        """Return the list of revoked serials (hex) with the times of their revocation, in PEM.

        It holds as long as the authority: a list that is out of date would shut everybody out.
        """
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(now - _BACKDATED if not revoked else now)
            .next_update(self.until)
            .add_extension(x509.CRLNumber(round(now.timestamp() * 1000)), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        for serial, at in sorted(revoked.items()):
            entry = x509.RevokedCertificateBuilder().serial_number(int(serial, 16))
            builder = builder.add_revoked_certificate(entry.revocation_date(at).build())
        signed = builder.sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)


def checked_host(text: str, option: str) -> str:
    """Return a host name or address that can stand in a certificate, or raise."""
    try:
        _host(text)
    except ValueError as error:
        raise SettingsError(f"{option} {text!r}: {error}; write a name or an address") from None
    return text


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    labels = text.split(".")
    if len(text) > 253 or not all(
        0 < len(label) < 64 and label.isascii() and label.replace("-", "a").isalnum()
        for label in labels
    ):
        raise ValueError("this is no host name")
    return x509.DNSName(text)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    until: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs, key_cert_sign=signs, crl_sign=signs,
        content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


def _facts(certificate: x509.Certificate) -> Facts:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = {*names.get_values_for_type(x509.DNSName)}
        hosts |= {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    except x509.ExtensionNotFound:
        hosts = set()
    name = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    return Facts(
        str(name),
        f"{certificate.serial_number:x}",
        certificate.not_valid_after_utc,
        frozenset(hosts),
    )
