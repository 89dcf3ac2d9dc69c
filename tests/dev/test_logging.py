"""No secret reaches a log line, whichever way it came in."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from abono.logging import REDACTED, configure_logging, redact, redact_text

CARD = "4242 4242 4242 4242"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    configure_logging("INFO", json=True)
    yield written
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.mark.parametrize(
    "secret",
    [
        "sk_live_51HxyzABC",
        "rk_test_abc123",
        "whsec_c2VjcmV0",
        "pm_card_visa",
        "tok_test_visa_4242",
        "pi_3Nabc_secret_xyz",
        "key_eYvWV7gSDkNYXsmr",
        "polar_oat_abcdef",
        "Bearer abc.def.ghi",
        "4242424242424242",
        CARD,
        "5555-5555-5555-4444",
        "378282246310005",
        "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_values_that_look_like_secrets(secret: str) -> None:
    text = redact_text(f"before {secret} after")
    assert text == f"before {REDACTED} after"


@pytest.mark.parametrize(
    "harmless",
    [
        "4242424242424241",  # Fails the Luhn check.
        "sub_1MowQVLkdIwHu7ixeRlqHVzs",
        "2026-11-22T20:27:03.123456Z",
        "7 subscriptions, 129900 MXN",
        "0192e6a0-7b1c-7c3e-4242-424242424242",
        "monkey_business",
    ],
)
def test_what_is_no_secret_stays(harmless: str) -> None:
    assert redact_text(harmless) == harmless


def test_the_password_of_a_url_goes_and_the_rest_stays() -> None:
    text = redact_text("postgresql://abono:pass%20word@db:5432/abono is down")
    assert text == f"postgresql://abono:{REDACTED}@db:5432/abono is down"


def test_names_of_secrets_at_any_depth() -> None:
    event = {
        "client_secret": "x",
        "payment": {"card": {"number": "1", "cvc": "2"}, "type": "card"},
        "headers": [{"Authorization": "x"}, {"X-Api-Key": "x"}],
        "discarded": 3,
        "idempotency_key": "kept",
    }
    assert redact(event) == {
        "client_secret": REDACTED,
        "payment": {"card": REDACTED, "type": "card"},
        "headers": [{"Authorization": REDACTED}, {"X-Api-Key": REDACTED}],
        "discarded": 3,
        "idempotency_key": "kept",
    }


def test_our_own_lines(lines: io.StringIO) -> None:
    structlog.get_logger("abono").info("charged", card=CARD, note=f"paid with {CARD}", number=1)
    event = json.loads(lines.getvalue())
    assert event["event"] == "charged"
    assert event["level"] == "info"
    assert event["card"] == REDACTED
    assert event["note"] == f"paid with {REDACTED}"
    assert event["number"] == 1
    assert event["timestamp"].endswith("Z")


def test_lines_and_stack_traces_of_libraries(lines: io.StringIO) -> None:
    try:
        raise ValueError("key sk_live_51HxyzABC is expired")
    except ValueError:
        logging.getLogger("stripe").exception("request with %s failed", "Bearer abc")
    event = json.loads(lines.getvalue())
    assert event["event"] == f"request with {REDACTED} failed"
    assert "ValueError" in event["exception"]
    assert "sk_live" not in lines.getvalue()


def test_lower_levels_are_silent(lines: io.StringIO) -> None:
    logging.getLogger("noisy").debug("nothing")
    structlog.get_logger("abono").debug("nothing")
    assert lines.getvalue() == ""


@pytest.mark.parametrize("caller", ["httpx", "stripe"])
def test_the_address_of_a_call_to_a_provider_is_not_written(
    lines: io.StringIO, caller: str
) -> None:
    """A token of the browser is part of it where Stripe attaches a card."""
    logging.getLogger(caller).info("HTTP Request: POST /v1/payment_methods/pm_1Nabc/attach")
    assert lines.getvalue() == ""
