"""Where webhooks may go: judged by address, at registration and at every connection."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from api.outbound.addresses import AddressRefused, is_public, locate, parse, resolve_by_system
from api.outbound.sender import Sender
from tests.api.receiving import ENDPOINTS, Receiver, receiving
from tests.api.support import Api

HEADERS = {"webhook-id": "one"}

PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4001:80b::200e"]
NOT_PUBLIC = [
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",  # Metadata of AWS, GCP, Azure.
    "100.100.100.200",  # Of Alibaba, in the shared address space.
    "100.64.0.1",
    "168.63.129.16",  # Azure's wire server.
    "192.0.0.192",  # Oracle's.
    "0.0.0.0",
    "255.255.255.255",
    "224.0.0.1",
    "240.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "192.88.99.1",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::127.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::",
    "2001::7f00:1",
    "2001:db8::1",
    "3fff::1",
    "fe80::1",
    "fec0::1",
    "fc00::1",
    "fd00:ec2::254",  # Metadata of AWS over IPv6.
    "ff02::1",
    "5f00::1",
    "100::1",
]


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_addresses_that_no_webhook_goes_to(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example/hooks",
        "ftp://shop.example/hooks",
        "shop.example/hooks",
        "https:///hooks",
        "https://user:password@shop.example/hooks",
        "https://user@shop.example/hooks",
        "https://shop.example/hooks#part",
        "https://shop.example:99999/hooks",
        "https://" + "a" * 3000,
        "file:///etc/passwd",
        "https://shop.example\\@127.0.0.1/",
        "",
    ],
)
def test_urls_that_are_refused_wherever_they_point_to(url: str) -> None:
    with pytest.raises(AddressRefused):
        parse(url, allow_private=False)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "0",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "169.254.169.254",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:a9fe:a9fe]",
        "[0:0:0:0:0:0:0:1]",
        "[64:ff9b::169.254.169.254]",
        "localhost",
    ],
)
async def test_every_way_to_write_an_address_next_to_us_is_refused(host: str) -> None:
    """By the machine's own resolver, as it is used in production."""
    with pytest.raises(AddressRefused):
        await judge(f"https://{host}/hooks")


async def judge(url: str) -> None:
    parsed = parse(url, allow_private=False)
    await locate(parsed, resolve_by_system, allow_private=False)


async def test_one_private_address_among_public_ones_is_enough() -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ["8.8.8.8", "10.0.0.1"]

    with pytest.raises(AddressRefused):
        await locate(httpx.URL("https://shop.example"), resolve, allow_private=False)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/hooks",
        "https://localhost/hooks",
        "https://2130706433/",
        "http://8.8.8.8/",
    ],
)
async def test_registration_refuses_and_says_why(api: Api, url: str) -> None:
    answer = await api.ours.post(ENDPOINTS, {"url": url})
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == "webhook_url_refused"
    assert problem["errors"][0]["field"] == "url"
    assert "127" not in answer.text, "what the name points to is nobody's business"
    assert (await api.ours.get(ENDPOINTS)).json()["data"] == []


class Names:
    """A resolver that can change its mind, as the one of an attacker does."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        return [self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


async def test_a_name_that_points_to_us_later_is_refused_at_the_connection(api: Api) -> None:
    names = Names("8.8.8.8", "127.0.0.1")
    api.context.sender = Sender(resolve=names)
    async with receiving() as receiver:
        port = httpx.URL(receiver.url).port
        url = f"https://rebinding.example:{port}/hooks"
        made = await api.ours.post(ENDPOINTS, {"url": url})
        assert made.status_code == 201
        answer = await api.ours.post(f"{ENDPOINTS}/{made.json()['id']}/test")
        assert answer.json()["error"] == "address_refused"
        assert not receiver.arrived.is_set()
    assert len(names.asked) == 2
    await api.context.sender.aclose()


async def test_redirects_are_not_followed(receiver: Receiver) -> None:
    async with receiving() as inner:
        receiver.answer = lambda _: 307
        receiver.headers = b"location: %s\r\n" % inner.url.encode()
        sender = Sender(allow_private=True)
        result = await sender.send(receiver.url, HEADERS, "{}")
        await sender.aclose()
    assert (result.error, result.response_status) == ("redirected", 307)
    assert len(receiver.taken) == 1
    assert inner.taken == []


async def test_of_an_answer_only_the_beginning_is_kept(receiver: Receiver) -> None:
    receiver.answer = lambda _: 500
    receiver.text = b"Traceback \x00" + b"x" * 100_000
    sender = Sender(allow_private=True)
    long = await sender.send(receiver.url, HEADERS, "{}")
    receiver.text = b"card 4242 4242 4242 4242"
    secret = await sender.send(receiver.url, HEADERS, "{}")
    await sender.aclose()
    assert long.response_excerpt is not None
    assert long.response_excerpt.startswith("Traceback xx")
    assert len(long.response_excerpt) <= 512
    assert "4242" not in (secret.response_excerpt or "")


async def test_a_receiver_that_does_not_answer_is_left(receiver: Receiver) -> None:
    receiver.gate.clear()
    sender = Sender(allow_private=True)
    result = await sender.send(receiver.url, HEADERS, "{}", timeout_seconds=0.2)
    await sender.aclose()
    assert (result.error, result.response_status) == ("timeout", None)


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server that is `name`, and a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin = datetime.now(UTC) - timedelta(days=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    both = folder / "server.pem"
    both.write_bytes(
        pem
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(both)
    return server, ssl.create_default_context(cadata=pem.decode())


async def test_the_certificate_has_to_be_the_names_and_the_host_header_too(
    tmp_path: Path,
) -> None:
    """The connection goes to an address; who answers there proves to be the name."""
    server, client = certificate(tmp_path, "shop.example")
    sender = Sender(allow_private=True, resolve=Names("127.0.0.1"), ssl_context=client)
    async with receiving(server) as receiver:
        port = httpx.URL(receiver.url).port
        right = await sender.send(f"https://shop.example:{port}/hooks", HEADERS, "{}")
        wrong = await sender.send(f"https://other.example:{port}/hooks", HEADERS, "{}")
        by_address = await sender.send(receiver.url, HEADERS, "{}")
    await sender.aclose()
    assert right.delivered
    assert (wrong.error, by_address.error) == ("tls_failed", "tls_failed")
    [got] = receiver.taken
    assert got.headers["host"] == f"shop.example:{port}"
