"""The judge itself: it lets good things pass and catches bad ones."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.stripe import objects
from tests.sandbox.stripe import openapi


def test_no_delta_of_the_overlay_is_obsolete() -> None:
    assert openapi.obsolete_deltas() == []


@pytest.mark.parametrize(
    ("method", "path", "encoded"),
    [
        (
            "POST",
            "/v1/payment_intents",
            "amount=1&currency=mxn&allowed_payment_method_types[0]=oxxo",
        ),
        ("POST", "/v1/subscriptions", "customer=cus_1&items[0][price]=price_1&expand[]=customer"),
        ("DELETE", "/v1/subscriptions/sub_1", "invoice_now=false&prorate=false"),
        ("GET", "/v1/prices", "lookup_keys[0]=a&active=true&limit=1"),
        ("POST", "/v1/subscriptions/sub_1", "billing_cycle_anchor[type]=now"),
    ],
)
def test_good_requests_pass(method: str, path: str, encoded: str) -> None:
    assert openapi.check_request(method, path, encoded) == []


@pytest.mark.parametrize(
    ("method", "path", "encoded"),
    [
        ("POST", "/v1/payment_intents", "amount=1&currency=mxn&payment_method_types[0]=oxxo"),
        ("POST", "/v1/payment_intents", "amount=many&currency=mxn"),
        ("POST", "/v1/payment_intents", "currency=mxn"),
        ("POST", "/v1/subscriptions", "customer=cus_1&items[0][plan]=plan_1"),
        ("POST", "/v1/subscriptions", "customer=cus_1&payment_behavior=hope"),
        ("POST", "/v1/refunds", "payment_intent=pi_1&reason=because"),
        ("POST", "/v1/subscriptions/sub_1", "billing_cycle_anchor=now"),
        ("POST", "/v1/nonsense", ""),
    ],
)
def test_bad_requests_are_caught(method: str, path: str, encoded: str) -> None:
    assert openapi.check_request(method, path, encoded)


@pytest.mark.parametrize(
    "spoiled",
    [{"created": None}, {"created": "today"}, {"livemode": 1}, {"tax_exempt": "yes"}, {"x": 1}],
)
def test_bad_answers_are_caught(spoiled: dict[str, Any]) -> None:
    good = {k: v for k, v in objects.customer(1).items() if not k.startswith("_")}
    assert openapi.check_answer("POST", "/v1/customers", 200, good) == []
    assert openapi.check_answer("POST", "/v1/customers", 200, {**good, **spoiled})
    del good["created"]
    assert openapi.check_answer("POST", "/v1/customers", 200, good)
