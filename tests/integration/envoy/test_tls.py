"""The door with TLS: what it speaks, whom it trusts, and a new certificate while it is open."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
import pytest_asyncio

from envoy.certificates import LOOPBACK, Certificate, development_certificate
from envoy.render import Address, Tls, tls_secret
from pkg.testing.addresses import reserve_address
from tests.integration.calls import eventually
from tests.integration.envoy.stage import VALIDATE, Signer, backend, door, inputs

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True)
class Secure:
    port: int
    directory: Path
    certificate: Certificate

    @property
    def authority(self) -> Path:
        return self.directory / "ca.crt"

    def handshake(
        self, protocols: list[str], newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ) -> tuple[str | None, bytes]:
        """The protocol agreed upon, and the certificate shown."""
        context = ssl.create_default_context(cafile=str(self.authority))
        context.set_alpn_protocols(protocols)
        context.minimum_version = min(newest, ssl.TLSVersion.TLSv1_2)
        context.maximum_version = newest
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secured,
        ):
            return secured.selected_alpn_protocol(), secured.getpeercert(binary_form=True) or b""


async def validate(channel: grpc.aio.Channel) -> Any:
    method: Any = channel.unary_unary(VALIDATE)
    return await method(b"", timeout=10)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def secure(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Secure]:
    signer = Signer()
    folder = tmp_path_factory.mktemp("tls")
    # As after a year and a month: what is made now, in the tests, is another one.
    certificate = development_certificate(folder, LOOPBACK, datetime.now(UTC) - timedelta(days=370))
    secret_file = folder / "tls.json"
    secret_file.write_text(tls_secret(certificate))
    port = Address.parse(reserve_address()).port
    async with AsyncExitStack() as stack:
        stand_in = await stack.enter_async_context(backend())
        jwks_port = await stack.enter_async_context(signer.serve())
        chosen = inputs(stand_in.port, jwks_port, tls=Tls(Address("127.0.0.1", port), secret_file))
        await stack.enter_async_context(door(chosen, folder))
        yield Secure(port, folder, certificate)


@pytest.mark.parametrize(
    ("offered", "agreed"),
    [(["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1"), (["http/1.1", "h2"], "h2"), (["spdy/3"], None)],
)
async def test_http2_is_preferred(secure: Secure, offered: list[str], agreed: str | None) -> None:
    assert (await asyncio.to_thread(secure.handshake, offered))[0] == agreed


async def test_old_versions_of_tls_are_refused(secure: Secure) -> None:
    with pytest.raises(ssl.SSLError), pytest.warns(DeprecationWarning, match="TLS"):
        await asyncio.to_thread(secure.handshake, ["h2"], ssl.TLSVersion.TLSv1_1)


async def test_grpc_and_json_come_through(secure: Secure) -> None:
    trusted = grpc.ssl_channel_credentials(secure.authority.read_bytes())
    async with grpc.aio.secure_channel(f"localhost:{secure.port}", trusted) as channel:
        assert await validate(channel) == b""
    context = ssl.create_default_context(cafile=str(secure.authority))
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"https://127.0.0.1:{secure.port}/v1/auth/login", json={}, ssl=context) as response,
    ):
        assert response.status == 200


async def test_who_does_not_trust_the_authority_does_not_connect(secure: Secure) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.post(f"https://127.0.0.1:{secure.port}/v1/auth/login", json={})


async def test_without_tls_nothing_is_answered(secure: Secure) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.post(f"http://127.0.0.1:{secure.port}/v1/auth/login", json={})


async def test_a_new_certificate_is_taken_up_while_connections_stay(secure: Secure) -> None:
    trusted = grpc.ssl_channel_credentials(secure.authority.read_bytes())
    _, before = await asyncio.to_thread(secure.handshake, ["h2"])
    async with grpc.aio.secure_channel(f"localhost:{secure.port}", trusted) as channel:
        await validate(channel)
        connected = channel.get_state()

        # A key that is not the certificate's changes nothing …
        elsewhere = secure.directory / "elsewhere"
        renewed = development_certificate(elsewhere, LOOPBACK, datetime.now(UTC))
        (secure.directory / ".incoming").write_bytes(renewed.key.read_bytes())
        (secure.directory / ".incoming").replace(secure.certificate.key)
        await validate(channel)
        assert (await asyncio.to_thread(secure.handshake, ["h2"]))[1] == before

        # … until the certificate is there, too.
        (elsewhere / "ca.crt").replace(secure.authority)
        (secure.directory / ".incoming").write_bytes(renewed.chain.read_bytes())
        (secure.directory / ".incoming").replace(secure.certificate.chain)

        async def shown() -> bool:
            try:
                return (await asyncio.to_thread(secure.handshake, ["h2"]))[1] != before
            except ssl.SSLCertVerificationError:
                return False  # the old one, whose authority is not trusted any more

        await eventually(shown, within=20)
        assert channel.get_state() is connected
        await validate(channel)
