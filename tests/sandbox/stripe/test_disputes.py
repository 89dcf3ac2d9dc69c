"""Disputes as Stripe's published description has them."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.core import Core, SandboxConfig
from tests.sandbox.stripe import openapi
from tests.sandbox.stripe.test_simulator import Caller


@pytest.fixture
async def caller() -> Caller:
    return Caller(Core(SandboxConfig()))


async def paid(caller: Caller, method: str = "pm_card_visa") -> dict[str, Any]:
    form = "amount=1900&currency=usd&allowed_payment_method_types[0]=card"
    intent = await caller.made("payment_intents", form)
    return await caller.made(f"payment_intents/{intent['id']}/confirm", f"payment_method={method}")


@pytest.mark.parametrize("outcome", [None, "won", "lost"])
async def test_a_dispute_looks_as_it_is_described(caller: Caller, outcome: str | None) -> None:
    intent = await paid(caller)
    opened = await caller.simulator.dispute(intent["id"], outcome)
    answer = await caller.http.get(f"disputes/{opened['dispute']}")
    path = f"/v1/disputes/{opened['dispute']}"
    assert openapi.check_answer("GET", path, answer.status_code, answer.json()) == []
    kinds = [entry["kind"] for entry in caller.core.charges if entry["kind"] != "charge"]
    back = ["dispute_reversal"] if outcome == "won" else []
    assert kinds == ["dispute", *back]
    told = [event["body"]["type"].removeprefix("charge.dispute.") for event in events(caller)]
    end = {None: [], "won": ["funds_reinstated", "closed"], "lost": ["closed"]}[outcome]
    assert told == ["created", "funds_withdrawn", *end]


async def test_what_is_closed_cannot_be_accepted(caller: Caller) -> None:
    intent = await paid(caller)
    opened = await caller.simulator.dispute(intent["id"], None)
    first = await caller.post(f"disputes/{opened['dispute']}/close")
    second = await caller.post(f"disputes/{opened['dispute']}/close")
    assert (first.status_code, first.json()["status"]) == (200, "lost")
    assert second.status_code == 400
    assert len(events(caller)) == 3


async def test_what_was_not_paid_by_card_cannot_be_disputed(caller: Caller) -> None:
    with pytest.raises(KeyError):
        await caller.simulator.dispute("pi_unknown", None)
    form = "amount=19900&currency=mxn&allowed_payment_method_types[0]=oxxo"
    intent = await caller.made("payment_intents", form)
    with pytest.raises(KeyError):
        await caller.simulator.dispute(intent["id"], None)


def events(caller: Caller) -> list[dict[str, Any]]:
    sent = caller.core.webhooks.events
    return [one for one in sent if one["body"]["type"].startswith("charge.dispute.")]
