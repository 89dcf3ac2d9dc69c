"""Answers that Conekta might give and the simulator does not: the documents leave both open."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from models.snapshots import ProviderInvoiceStatus
from providers.conekta import ConektaProvider
from providers.drafts import PreparedSubscription
from providers.failures import FailureKind
from tests.providers.conekta.drafts import ProviderFactory, failure_of, subscription_draft

Json = dict[str, Any]
MINE = "/customers/cus_1/subscriptions"
PREPARED = PreparedSubscription(provider_subscription_id="abono_s_a", provider_invoice_id=None)
DRAFT = subscription_draft("cus_1", "src_1")
REFUSED: Json = {
    "object": "error",
    "details": [{"code": "conekta.errors.processing.bank.insufficient_funds"}],
}


def subscription(status: str, order_id: str | None = "ord_1") -> Json:
    return {
        "id": "sub_c",
        "status": status,
        "plan_id": "abono_s_a",
        "card_id": "src_1",
        "last_billing_cycle_order_id": order_id,
        "billing_cycle_start": 1_750_000_000,
        "billing_cycle_end": 1_752_600_000,
        "subscription_start": 1_750_000_000,
    }


def order(*statuses: str) -> Json:
    charges = [
        {
            "id": f"c_{number}",
            "status": status,
            "amount": 100,
            "failure_code": "card_declined" if status == "declined" else None,
        }
        for number, status in enumerate(statuses)
    ]
    return {
        "id": "ord_1",
        "amount": 100,
        "currency": "MXN",
        "payment_status": statuses[-1],
        "created_at": 1_750_000_000,
        "customer_info": {"customer_id": "cus_1"},
        "charges": {"data": charges},
    }


def listed(*items: Json) -> Json:
    return {"object": "list", "has_more": False, "data": list(items)}


@dataclass
class Script:
    """Answers each call with what was written down for it; the last answer is repeated."""

    address: str = ""
    answers: dict[str, list[tuple[int, Json]]] = field(default_factory=dict)
    heard: list[str] = field(default_factory=list)

    def says(self, call: str, body: Json, status: int = 200) -> None:
        self.answers.setdefault(call, []).append((status, body))

    async def speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = (
            (await reader.readuntil(b"\r\n\r\n")).decode().partition(" HTTP")[0].partition("?")[0]
        )
        self.heard.append(call)
        waiting = self.answers.get(call, [(404, {})])
        status, body = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        raw = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(raw)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + raw)
        writer.close()
        await writer.wait_closed()


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    script = Script()
    server = await asyncio.start_server(script.speak, "127.0.0.1", 0)
    script.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield script
    server.close()


@pytest.fixture
def scripted(script: Script, make_provider: ProviderFactory) -> ConektaProvider:
    return make_provider(api_base=script.address)


async def retry(provider: ConektaProvider, card_id: str | None = None) -> Any:
    return await provider.retry_invoice(
        "ord_1", attempt_id="att_1", provider_payment_method_id=card_id
    )


async def test_a_start_that_is_not_charged_yet_is_unknown(
    script: Script, scripted: ConektaProvider
) -> None:
    script.says(f"GET {MINE}", listed())
    script.says(f"POST {MINE}", subscription("in_trial", None))
    failure = await failure_of(scripted.commit_subscription(DRAFT, PREPARED))
    assert failure.kind is FailureKind.UNKNOWN


async def test_a_start_that_is_refused_at_once_leaves_nothing(
    script: Script, scripted: ConektaProvider
) -> None:
    script.says(f"POST {MINE}", REFUSED, 402)
    script.says(f"GET {MINE}", listed())
    script.says("DELETE /plans/abono_s_a", {"id": "abono_s_a"})
    failure = await failure_of(scripted.commit_subscription(DRAFT, PREPARED))
    assert failure.kind is FailureKind.DECLINED
    assert failure.decline is not None
    assert "DELETE /plans/abono_s_a" in script.heard


async def test_a_plan_that_cannot_be_taken_away_settles_nothing(
    script: Script, scripted: ConektaProvider
) -> None:
    script.says(f"GET {MINE}", listed())
    script.says("DELETE /plans/abono_s_a", {}, 422)
    cancel = scripted.cancel_subscription("cus_1", "abono_s_a", at_period_end=False)
    assert (await failure_of(cancel)).kind is FailureKind.REJECTED


@pytest.mark.parametrize("end", [True, False])
async def test_at_the_period_s_end_of_what_never_began(
    script: Script, scripted: ConektaProvider, end: bool
) -> None:
    script.says(f"GET {MINE}", listed())
    ended = await scripted.cancel_subscription("cus_1", "abono_s_a", at_period_end=end)
    assert ended.provider_subscription_id == "abono_s_a"
    assert (await failure_of(scripted.keep_subscription("cus_1", "abono_s_a"))).code == "is_over"


@pytest.mark.parametrize("status", ["canceled", "active"])
async def test_a_cancellation_that_is_refused_is_fine_when_it_is_over(
    script: Script, scripted: ConektaProvider, status: str
) -> None:
    script.says(f"GET {MINE}/sub_c", subscription("active"))
    script.says(f"GET {MINE}/sub_c", subscription(status))
    script.says(f"POST {MINE}/sub_c/cancel", {}, 428)
    script.says("GET /orders/ord_1", order("paid"))
    cancel = scripted.cancel_subscription("cus_1", "sub_c", at_period_end=False)
    if status == "canceled":
        assert (await cancel).status == "canceled"
    else:
        assert (await failure_of(cancel)).kind is FailureKind.REJECTED


async def test_a_cancellation_that_is_answered_with_a_running_one_is_unknown(
    script: Script, scripted: ConektaProvider
) -> None:
    script.says(f"GET {MINE}/sub_c", subscription("active"))
    script.says(f"POST {MINE}/sub_c/cancel", subscription("active"))
    script.says("GET /orders/ord_1", order("paid"))
    cancel = scripted.cancel_subscription("cus_1", "sub_c", at_period_end=False)
    assert (await failure_of(cancel)).kind is FailureKind.UNKNOWN


@pytest.mark.parametrize(("before", "after"), [("active", "paused"), ("paused", "active")])
@pytest.mark.parametrize("happened", [True, False])
async def test_a_pause_or_its_end_that_is_refused_is_fine_when_it_is_so(
    script: Script, scripted: ConektaProvider, before: str, after: str, happened: bool
) -> None:
    script.says(f"GET {MINE}/sub_c", subscription(before))
    script.says(f"GET {MINE}/sub_c", subscription(after if happened else before))
    script.says(f"POST {MINE}/sub_c/pause", {}, 428)
    script.says(f"POST {MINE}/sub_c/resume", {}, 428)
    script.says("GET /orders/ord_1", order("paid"))
    if after == "paused":
        call = scripted.cancel_subscription("cus_1", "sub_c", at_period_end=True)
    else:
        call = scripted.keep_subscription("cus_1", "sub_c")
    if happened:
        assert (await call).cancel_at_period_end is (after == "paused")
    else:
        assert (await failure_of(call)).kind is FailureKind.REJECTED


async def test_a_retry_that_is_refused_with_402_is_a_decline(
    script: Script, scripted: ConektaProvider
) -> None:
    script.says("GET /orders/ord_1", order("declined"))
    script.says(f"GET {MINE}", listed(subscription("past_due")))
    script.says(f"POST {MINE}/sub_c/retry", REFUSED, 402)
    failure = await failure_of(retry(scripted))
    assert failure.kind is FailureKind.DECLINED
    assert failure.decline is not None
    assert failure.decline.code == "conekta.errors.processing.bank.insufficient_funds"


@pytest.mark.parametrize("paid", [True, False])
async def test_a_retry_that_is_refused_is_fine_when_it_is_paid(
    script: Script, scripted: ConektaProvider, paid: bool
) -> None:
    """As when the new card was charged as soon as it was set."""
    script.says("GET /orders/ord_1", order("declined"))
    script.says("GET /orders/ord_1", order("declined", "paid") if paid else order("declined"))
    script.says(f"GET {MINE}", listed(subscription("past_due")))
    script.says(f"PUT {MINE}/sub_c", subscription("active"))
    script.says(f"POST {MINE}/sub_c/retry", {}, 428)
    call = retry(scripted, "src_2")
    if paid:
        assert (await call).status is ProviderInvoiceStatus.PAID
    else:
        assert (await failure_of(call)).kind is FailureKind.REJECTED
    assert f"PUT {MINE}/sub_c" in script.heard


async def test_a_retry_without_a_new_charge_is_unknown(
    script: Script, scripted: ConektaProvider
) -> None:
    """The decline that the order shows is the old one."""
    script.says("GET /orders/ord_1", order("declined"))
    script.says(f"GET {MINE}", listed(subscription("past_due")))
    script.says(f"POST {MINE}/sub_c/retry", subscription("past_due"))
    assert (await failure_of(retry(scripted))).kind is FailureKind.UNKNOWN


async def test_an_order_that_nobody_waits_for_is_not_retried(
    script: Script, scripted: ConektaProvider
) -> None:
    script.says("GET /orders/ord_1", order("declined"))
    script.says(f"GET {MINE}", listed(subscription("active", "ord_2")))
    assert (await failure_of(retry(scripted))).code == "nothing_to_retry"
    found = await scripted.get_invoice("ord_1")
    assert found.status is ProviderInvoiceStatus.OPEN
    assert found.provider_subscription_id is None
