"""Which webhooks are believed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

import pytest
from polar.webhooks import PolarWebhookError
from polar.webhooks import validate_event as validate_with_sdk

from models.events import EventKind
from providers.failures import WebhookMalformed, WebhookRejected
from tests.providers.polar.signing import (
    EVENT_ID,
    GOOD,
    OTHER,
    PLAIN,
    RELAY,
    SECRET,
    Json,
    build,
    encoded,
    relayed,
    signed,
)


@pytest.mark.parametrize("legacy", [False, True])
def test_both_keys_of_a_secret_are_good(legacy: bool) -> None:
    raw = encoded(GOOD)
    headers = signed(raw, legacy=legacy)
    read = build(webhook_secrets=[SECRET]).parse_webhook(raw, headers)
    assert read.provider_event_id == EVENT_ID
    assert read.event_type == "organization.updated"
    assert read.kind is EventKind.IGNORED


def test_a_secret_that_is_no_base64() -> None:
    raw = encoded(GOOD)
    build(webhook_secrets=[PLAIN]).parse_webhook(raw, signed(raw, PLAIN, legacy=True))


def bad_headers() -> dict[str, dict[str, str]]:
    raw = encoded(GOOD)
    good = signed(raw)
    mac = good["webhook-signature"]
    hexadecimal = base64.b64decode(mac.removeprefix("v1,")).hex()
    return {
        "none": {},
        "no id": {k: v for k, v in good.items() if k != "webhook-id"},
        "no time": {k: v for k, v in good.items() if k != "webhook-timestamp"},
        "no signature": {k: v for k, v in good.items() if k != "webhook-signature"},
        "another secret": signed(raw, OTHER),
        "another body": signed(raw + b" "),
        "another id": {**good, "webhook-id": "other"},
        "another time": {**good, "webhook-timestamp": str(int(time.time()) + 1)},
        "too old": signed(raw, age=301),
        "from the future": signed(raw, age=-310),
        "time in words": {**good, "webhook-timestamp": "now"},
        "time without end": {**good, "webhook-timestamp": "9" * 400},
        "another version": {**good, "webhook-signature": mac.replace("v1,", "v2,")},
        "no version": {**good, "webhook-signature": mac.removeprefix("v1,")},
        "hexadecimal": {**good, "webhook-signature": f"v1,{hexadecimal}"},
        "not base64": {**good, "webhook-signature": "v1,!"},
        "not ASCII": {**good, "webhook-signature": "v1,ñ"},
        "empty": {**good, "webhook-signature": ""},
        "a relay's": relayed(raw),
    }


@pytest.mark.parametrize("name", list(bad_headers()))
def test_what_is_not_believed(name: str) -> None:
    with pytest.raises(WebhookRejected):
        build(webhook_secrets=[SECRET]).parse_webhook(encoded(GOOD), bad_headers()[name])


def test_one_good_signature_among_several() -> None:
    raw = encoded(GOOD)
    headers = signed(raw)
    several = f"v1,AAAA {headers['webhook-signature']} v1a,BBBB"
    build(webhook_secrets=[SECRET]).parse_webhook(raw, {**headers, "webhook-signature": several})


@pytest.mark.parametrize("name", list(bad_headers()))
def test_the_sdk_agrees_about_who_is_believed(name: str) -> None:
    """Its own verification, which takes too long to import to be used."""

    def accepted_by_sdk(headers: dict[str, str]) -> bool:
        known = frozenset({GOOD["type"]})
        try:
            validate_with_sdk(encoded(GOOD), headers, SECRET, known, lambda data: data)
        except PolarWebhookError:
            return False
        return True

    raw = encoded(GOOD)
    assert not accepted_by_sdk(bad_headers()[name])
    assert accepted_by_sdk(signed(raw))
    assert accepted_by_sdk(signed(raw, legacy=True))


def test_while_secrets_rotate_both_are_good() -> None:
    raw = encoded(GOOD)
    provider = build(webhook_secrets=[OTHER, SECRET])
    for secret in (SECRET, OTHER):
        provider.parse_webhook(raw, signed(raw, secret))
    with pytest.raises(WebhookRejected):
        build(webhook_secrets=[OTHER]).parse_webhook(raw, signed(raw))


def test_the_hmac_of_a_relay() -> None:
    raw = encoded(GOOD)
    provider = build(relay_secrets=["older", RELAY])
    read = provider.parse_webhook(raw, relayed(raw))
    assert provider.parse_webhook(raw, relayed(raw, "older")) == read
    # What the relay signs is the body alone, so no header may name the event.
    headers = {**relayed(raw), "webhook-id": "forged"}
    assert provider.parse_webhook(raw, headers).provider_event_id == read.provider_event_id
    assert read.provider_event_id == f"relay_{hashlib.sha256(raw).hexdigest()}"
    upper = {"x-polar-signature": relayed(raw)["x-polar-signature"].upper()}
    provider.parse_webhook(raw, upper)
    for bad in (
        {},
        {"x-polar-signature": ""},
        {"x-polar-signature": "ñ"},
        relayed(raw, "other"),
        relayed(raw + b" "),
        signed(raw),
    ):
        with pytest.raises(WebhookRejected):
            provider.parse_webhook(raw, bad)


def test_both_schemes_at_once() -> None:
    raw = encoded(GOOD)
    provider = build(webhook_secrets=[SECRET], relay_secrets=[RELAY])
    assert provider.parse_webhook(raw, signed(raw)).provider_event_id == EVENT_ID
    provider.parse_webhook(raw, relayed(raw))
    both = {**signed(raw), **relayed(raw, "other")}
    assert provider.parse_webhook(raw, both).provider_event_id == EVENT_ID
    with pytest.raises(WebhookRejected):
        provider.parse_webhook(raw, relayed(raw, SECRET))


@pytest.mark.parametrize(
    "settings",
    [{}, {"webhook_secrets": ["", " "]}, {"relay_secrets": [""]}, {"webhook_secrets": ["whsec_"]}],
)
def test_without_a_secret_nothing_is_believed(settings: Json) -> None:
    raw = encoded(GOOD)
    provider = build(**settings)
    empty = hmac.new(b"", raw, hashlib.sha256).hexdigest()
    forged = [{}, signed(raw), relayed(raw, ""), {"x-polar-signature": empty}]
    forged.append(signed(raw, "whsec_"))
    for headers in forged:
        with pytest.raises(WebhookRejected):
            provider.parse_webhook(raw, headers)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_body_that_is_no_text_is_still_verified(legacy: bool) -> None:
    """Over the bytes: what cannot be decoded is authentic, and unreadable."""
    raw = b'\xff{"type": 1}'
    with pytest.raises(WebhookMalformed):
        build(webhook_secrets=[SECRET]).parse_webhook(raw, signed(raw, legacy=legacy))
    with pytest.raises(WebhookRejected):
        build(webhook_secrets=[SECRET]).parse_webhook(raw, signed(raw, OTHER))
