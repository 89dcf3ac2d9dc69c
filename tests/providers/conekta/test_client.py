"""What the SDK is made to send, and what it is kept from doing."""

from __future__ import annotations

import asyncio
import platform
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from pydantic import ValidationError

from abono.settings import Settings
from abono.wiring import build_providers
from models.outcomes import ProviderName
from providers.failures import FailureKind, ProviderFailure
from tests.providers.conekta.drafts import ProviderFactory, customer_draft
from tests.sandbox.conekta.world import ACCEPT, API_KEY


@dataclass
class Listener:
    """Hears requests word for word and answers each with 503."""

    address: str = ""
    heard: list[str] = field(default_factory=list)

    async def speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard.append((await reader.readuntil(b"\r\n\r\n")).decode())
        head = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 30\r\n"
        writer.write(head + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()
        await writer.wait_closed()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener()
    server = await asyncio.start_server(listener.speak, "127.0.0.1", 0)
    listener.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield listener
    server.close()


async def test_a_call_is_sent_once_and_says_nothing_about_the_machine(
    listener: Listener, make_provider: ProviderFactory
) -> None:
    provider = make_provider(api_base=f"{listener.address}/")
    with pytest.raises(ProviderFailure) as raised:
        await provider.get_payment("ord_1")
    assert raised.value.kind is FailureKind.UNKNOWN
    assert raised.value.retry_after_seconds == 30
    [request] = listener.heard
    assert request.startswith("GET /orders/ord_1 HTTP/1.1\r\n")
    lines = {line.lower() for line in request.splitlines()}
    assert f"accept: {ACCEPT}" in lines
    assert f"authorization: bearer {API_KEY}" in lines
    assert "x-conekta-client-user-agent: {}" in lines
    assert platform.node() not in request


async def test_each_account_has_its_own_version_header(
    listener: Listener, make_provider: ProviderFactory
) -> None:
    """The header is a setting of the adapter, also when two share the process."""
    femsa = "application/vnd.app-v2.1.0+json"
    for provider in (
        make_provider(api_base=listener.address, version_header=femsa),
        make_provider(api_base=listener.address),
    ):
        for _ in range(2):
            with pytest.raises(ProviderFailure):
                await provider.ensure_customer(customer_draft())
    accepted = [
        line.partition(": ")[2]
        for request in listener.heard
        for line in request.splitlines()
        if line.lower().startswith("accept:")
    ]
    assert accepted == [femsa, femsa, ACCEPT, ACCEPT]


async def test_another_api_is_settings_alone(listener: Listener) -> None:
    """As for Digital FEMSA's: an address and a version header, from the environment to the wire."""
    femsa = "application/vnd.app-v2.1.0+json"
    registry = build_providers(
        Settings(
            CONEKTA_API_KEY=API_KEY,
            CONEKTA_API_BASE=listener.address,
            ABONO_CONEKTA_VERSION_HEADER=femsa,
        )
    )
    provider = registry.get(ProviderName.CONEKTA)
    assert provider is not None
    with pytest.raises(ProviderFailure):
        await provider.get_payment("ord_1")
    await registry.aclose()
    [request] = listener.heard
    assert f"accept: {femsa}" in request.lower().splitlines()


@pytest.mark.parametrize("header", ["", "a b", "a\r\nx-evil: 1", "é"])
def test_a_version_header_that_is_none_stops_the_start(header: str) -> None:
    with pytest.raises(ValidationError):
        Settings(ABONO_CONEKTA_VERSION_HEADER=header)


async def test_a_proxy_in_the_environment_is_not_used(
    listener: Listener, make_provider: ProviderFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with pytest.raises(ProviderFailure):
        await make_provider(api_base=listener.address).get_payment("ord_1")
    assert len(listener.heard) == 1


def test_the_sdk_is_not_imported_before_the_first_call() -> None:
    """It takes most of a second, and the API only reads webhooks."""
    program = (
        "import sys\n"
        "from providers.conekta import ConektaProvider\n"
        "ConektaProvider(api_key='k')\n"
        "sys.exit('conekta' in sys.modules or 'urllib3' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert done.returncode == 0
