"""Certificates: made for development, kept, renewed, refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from envoy.certificates import LOOPBACK, Certificate, CertificateError, development_certificate

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_it_is_for_these_hosts_and_signed_by_the_authority_beside_it(tmp_path: Path) -> None:
    made = development_certificate(tmp_path, [*LOOPBACK, "workstation"], NOW)
    leaf, authority = read(made.chain), read(tmp_path / "ca.crt")
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "workstation"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    leaf.verify_directly_issued_by(authority)
    made.check(NOW)


def test_browsers_accept_how_long_it_lasts(tmp_path: Path) -> None:
    leaf = read(development_certificate(tmp_path, LOOPBACK, NOW).chain)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc < timedelta(days=398)


def test_the_authority_can_speak_for_no_other_name(tmp_path: Path) -> None:
    development_certificate(tmp_path, LOOPBACK, NOW)
    constraint = read(tmp_path / "ca.crt").extensions.get_extension_for_class(x509.NameConstraints)
    assert constraint.critical
    assert [name.value for name in constraint.value.permitted_subtrees or ()] == ["localhost"]


def test_secrets_are_for_their_owner_alone(tmp_path: Path) -> None:
    development_certificate(tmp_path, LOOPBACK, NOW)
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {
        "ca.crt": "0o644", "ca.key": "0o600", "tls.crt": "0o644", "tls.key": "0o600",
    }  # fmt: skip


def test_a_good_one_is_kept(tmp_path: Path) -> None:
    before = read(development_certificate(tmp_path, LOOPBACK, NOW).chain)
    assert read(development_certificate(tmp_path, LOOPBACK, NOW + timedelta(days=300)).chain) == before


def test_a_renewed_one_comes_from_the_same_authority(tmp_path: Path) -> None:
    before = read(development_certificate(tmp_path, LOOPBACK, NOW).chain)
    authority = read(tmp_path / "ca.crt")
    later = NOW + timedelta(days=380)
    renewed = development_certificate(tmp_path, LOOPBACK, later)
    assert read(renewed.chain) != before
    assert read(tmp_path / "ca.crt") == authority
    renewed.check(later + timedelta(days=300))


def test_other_hosts_take_another_authority(tmp_path: Path) -> None:
    development_certificate(tmp_path, LOOPBACK, NOW)
    authority = read(tmp_path / "ca.crt")
    made = development_certificate(tmp_path, [*LOOPBACK, "renamed"], NOW)
    assert read(tmp_path / "ca.crt") != authority
    read(made.chain).verify_directly_issued_by(read(tmp_path / "ca.crt"))


@pytest.mark.parametrize("name", ["tls.crt", "tls.key", "ca.crt", "ca.key"])
@pytest.mark.parametrize("content", [b"", b"garbage"])
def test_what_was_damaged_is_made_again(tmp_path: Path, name: str, content: bytes) -> None:
    development_certificate(tmp_path, LOOPBACK, NOW)
    (tmp_path / name).write_bytes(content)
    later = NOW + timedelta(days=380)
    made = development_certificate(tmp_path, LOOPBACK, later)
    made.check(later)
    read(made.chain).verify_directly_issued_by(read(tmp_path / "ca.crt"))


def _other_key(path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))


def _lock_key(path: Path) -> None:
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    form, locked = serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, locked))


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        pytest.param("tls.key", _other_key, "not the key of", id="another key"),
        pytest.param("tls.key", _lock_key, "passphrase", id="passphrase"),
        pytest.param("tls.key", Path.unlink, "cannot be read: No such file", id="no key"),
        pytest.param("tls.crt", Path.unlink, "cannot be read: No such file", id="no certificate"),
        pytest.param("tls.crt", lambda path: path.write_text("no"), "no certificate in PEM form", id="garbage"),
        pytest.param("tls.key", lambda path: path.write_text("no"), "no private key in PEM form", id="garbage key"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(
    tmp_path: Path, name: str, spoil: Callable[[Path], object], message: str
) -> None:
    made = development_certificate(tmp_path, LOOPBACK, NOW)
    spoil(tmp_path / name)
    with pytest.raises(CertificateError, match=message) as caught:
        made.check(NOW)
    assert str(tmp_path / name) in str(caught.value)


def test_its_time_is_checked(tmp_path: Path) -> None:
    made: Certificate = development_certificate(tmp_path, LOOPBACK, NOW)
    with pytest.raises(CertificateError, match="expired at 2027-06-02"):
        made.check(NOW + timedelta(days=400))
    with pytest.raises(CertificateError, match="clock"):
        made.check(NOW - timedelta(days=1))
