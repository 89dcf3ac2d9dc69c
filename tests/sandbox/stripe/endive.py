"""What API version 2026-10-28.endive changed since the OpenAPI document that can be installed.

The document is one release train older (2026-05-27.dahlia). Each delta says how to see that it is
obsolete, so that a newer document makes a test fail until the delta is deleted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]

VERSION = "2026-10-28.endive"

_FILTERED = (
    "/v1/payment_intents",
    "/v1/payment_intents/{intent}",
    "/v1/payment_intents/{intent}/confirm",
    "/v1/setup_intents",
    "/v1/setup_intents/{intent}",
    "/v1/checkout/sessions",
)


_PAUSE = "/v1/subscriptions/{subscription}/pause"


@dataclass(frozen=True)
class Delta:
    what: str
    is_obsolete: Callable[[Document], bool]
    apply: Callable[[Document], None]


def parameters(document: Document, path: str, method: str = "post") -> dict[str, Any]:
    """The body parameters of an operation, to read or to change."""
    content = document["paths"][path][method]["requestBody"]["content"]
    schema = content["application/x-www-form-urlencoded"]["schema"]
    found: dict[str, Any] = schema["properties"]
    return found


def _filter_types(document: Document) -> None:
    for path in _FILTERED:
        known = parameters(document, path)
        del known["payment_method_types"]
        known["allowed_payment_method_types"] = {"type": "array", "items": {"type": "string"}}


def _anchor_object(document: Document) -> None:
    for path in (
        "/v1/subscriptions/{subscription_exposed_id}",
        "/v1/subscriptions/{subscription}/resume",
    ):
        parameters(document, path)["billing_cycle_anchor"] = {
            "type": "object",
            "required": ["type"],
            "properties": {"type": {"type": "string", "enum": ["now", "unchanged"]}},
        }


def _pause(document: Document) -> None:
    resume = document["paths"]["/v1/subscriptions/{subscription}/resume"]["post"]
    parameters(document, "/v1/subscriptions/{subscription}/resume")["payment_behavior"] = {
        "type": "string",
        "enum": ["resume_on_payment_attempt", "resume_on_payment_success"],
    }
    unused = {"type": {"type": "string", "enum": ["item_current_period_start", "none", "now"]}}
    outstanding = {"type": {"type": "string", "enum": ["none", "now"]}}
    properties = {
        "type": {"type": "string", "enum": ["subscription"]},
        "invoicing_behavior": {"type": "string", "enum": ["invoice", "pending_invoice_item"]},
        "bill_for": {
            "type": "object",
            "properties": {
                "unused_time_from": {"type": "object", "properties": unused},
                "outstanding_usage_through": {"type": "object", "properties": outstanding},
            },
        },
        "expand": {"type": "array", "items": {"type": "string"}},
    }
    body = {"schema": {"type": "object", "properties": properties}}
    subscription = document["components"]["schemas"]["subscription"]["properties"]
    subscription["status_details"] = {"type": "object", "nullable": True, "properties": {}}
    document["paths"][_PAUSE] = {
        "post": {
            "parameters": [],
            "requestBody": {"content": {"application/x-www-form-urlencoded": body}},
            "responses": resume["responses"],
        }
    }


def _anchor_is_object(document: Document) -> bool:
    anchor = parameters(document, "/v1/subscriptions/{subscription_exposed_id}")
    return bool(anchor["billing_cycle_anchor"].get("type") == "object")


DELTAS = (
    Delta(
        "payment_method_types became the filter allowed_payment_method_types",
        lambda d: "allowed_payment_method_types" in parameters(d, "/v1/payment_intents"),
        _filter_types,
    ),
    Delta(
        "billing_cycle_anchor is an object on update and resume",
        _anchor_is_object,
        _anchor_object,
    ),
    Delta(
        "a subscription is paused by a call of its own, and resumed without a payment in the request",
        lambda d: _PAUSE in d["paths"],
        _pause,
    ),
    Delta(
        "the version",
        lambda d: d["info"]["version"] == VERSION,
        lambda d: d["info"].update(version=VERSION),
    ),
)
