"""Certificates of the TLS listener: the operator's own, or one for development made at the first start.

A development certificate is signed by an authority of its own, which can speak for this machine's names alone (RFC 5280
name constraints): whoever trusts it trusts nobody with the names of others.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CHAIN_NAME, KEY_NAME, AUTHORITY_NAME = "tls.crt", "tls.key", "ca.crt"
_AUTHORITY_KEY_NAME = "ca.key"
# Browsers refuse certificates that are good for longer than 398 days.
_LEAF_DAYS = 397
_RENEW_DAYS = 30
_AUTHORITY_DAYS = 3650
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class CertificateError(ValueError):
    """A certificate or its key cannot be used; the text says which and why."""


@dataclass(frozen=True)
class Certificate:
    """Files of a certificate: the chain, leaf first, and the leaf's private key, both PEM."""

    chain: Path
    key: Path

    def check(self, now: datetime) -> None:
        """Raises CertificateError when browsers would not accept these files, or Envoy could not use them."""
        leaf = _leaf(self.chain)
        if _public(_key(self.key)) != leaf.public_key().public_bytes(*_PUBLIC):
            raise CertificateError(f"{self.key} is not the key of the certificate in {self.chain}")
        if now >= leaf.not_valid_after_utc:
            raise CertificateError(f"the certificate in {self.chain} expired at {leaf.not_valid_after_utc:%Y-%m-%d}")
        if now < leaf.not_valid_before_utc:
            raise CertificateError(f"the certificate in {self.chain} is not valid yet; is this machine's clock right?")


def development_certificate(directory: Path, hosts: Sequence[str], now: datetime) -> Certificate:
    """The certificate for `hosts` (names or addresses) in `directory`, made or renewed when there is no good one.

    `ca.crt` beside it is what clients trust; it stays the same over renewals while the hosts do.
    """
    directory.mkdir(mode=0o711, parents=True, exist_ok=True)
    found = Certificate(directory / CHAIN_NAME, directory / KEY_NAME)
    names = _names(hosts)
    if _good(found, names, now + timedelta(days=_RENEW_DAYS)):
        return found
    authority, authority_key = _authority(directory, names, now)
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = (
        _builder("oofgg development", now, _LEAF_DAYS)
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    _write(found.key, _private(key), 0o600)
    _write(found.chain, leaf.public_bytes(serialization.Encoding.PEM), 0o644)
    return found


def _authority(
    directory: Path, names: Sequence[x509.GeneralName], now: datetime
) -> tuple[x509.Certificate, CertificateIssuerPrivateKeyTypes]:
    certificate, key_file = directory / AUTHORITY_NAME, directory / _AUTHORITY_KEY_NAME
    try:
        kept, key = _leaf(certificate), _key(key_file)
        if (
            _public(key) == kept.public_key().public_bytes(*_PUBLIC)
            and now + timedelta(days=_LEAF_DAYS) < kept.not_valid_after_utc
            and _permitted(kept) == _constraints(names)
        ):
            return kept, key
    except CertificateError:
        pass  # there is none, or none that can be used
    fresh = ec.generate_private_key(ec.SECP256R1())
    made = (
        _builder("oofgg development authority", now, _AUTHORITY_DAYS)
        .issuer_name(_name("oofgg development authority"))
        .public_key(fresh.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.NameConstraints(_constraints(names), None), critical=True)
        .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(fresh.public_key()), critical=False)
        .sign(fresh, hashes.SHA256())
    )
    _write(key_file, _private(fresh), 0o600)
    _write(certificate, made.public_bytes(serialization.Encoding.PEM), 0o644)
    return made, fresh


def _good(found: Certificate, names: Sequence[x509.GeneralName], at: datetime) -> bool:
    try:
        found.check(at)
        extension = _leaf(found.chain).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (CertificateError, x509.ExtensionNotFound):
        return False
    return list(extension.value) == list(names)


def _names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for host in dict.fromkeys(hosts):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return names


def _constraints(names: Sequence[x509.GeneralName]) -> list[x509.GeneralName]:
    # Names only: BoringSSL, and with it gRPC, takes no chain with a constraint on addresses.
    return [name for name in names if isinstance(name, x509.DNSName)]


def _permitted(certificate: x509.Certificate) -> list[x509.GeneralName]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.NameConstraints)
    except x509.ExtensionNotFound:
        return []
    return list(found.value.permitted_subtrees or ())


def _builder(subject: str, now: datetime, days: int) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _leaf(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())[0]
    except OSError as error:
        raise CertificateError(f"the certificate {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CertificateError(f"{path} holds no certificate in PEM form") from error


def _key(path: Path) -> CertificateIssuerPrivateKeyTypes:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise CertificateError(f"the key {path} cannot be read: {error.strerror}") from error
    except TypeError as error:
        raise CertificateError(f"the key {path} has a passphrase, which nobody is there to type") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"{path} holds no private key in PEM form") from error
    return key  # type: ignore[return-value]  # keys that cannot sign match no certificate


_PUBLIC = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _public(key: CertificateIssuerPrivateKeyTypes) -> bytes:
    return key.public_key().public_bytes(*_PUBLIC)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    unfinished.replace(path)
