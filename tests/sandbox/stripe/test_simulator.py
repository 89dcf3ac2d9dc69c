"""The simulator as a stranger sees it: plain HTTP, without the SDK and without the adapter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from sandbox.core import Core, SandboxConfig
from sandbox.stripe.app import StripeSimulator
from sandbox.stripe.forms import decode
from sandbox.stripe.periods import boundary
from sandbox.stripe.transfers import new_clabe
from sandbox.stripe.vouchers import last_second_of_day

KEY = "sk_test_sandbox"


class Caller:
    """Speaks Stripe's forms: nested values become `a[b][0]`."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.simulator = StripeSimulator(core)
        app = Starlette(routes=[Mount("/stripe", routes=self.simulator.routes())])
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://sandbox/stripe/v1/",
            headers={"Authorization": f"Bearer {KEY}"},
        )

    async def post(
        self, path: str, form: str = "", key: str | None = None, **headers: str
    ) -> httpx.Response:
        sent = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        if key is not None:
            sent["Idempotency-Key"] = key
        return await self.http.post(path, content=quote(form, safe="&=[]@"), headers=sent)

    async def made(self, path: str, form: str = "") -> dict[str, Any]:
        answer = await self.post(path, form)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def subscription(self, card: str, more: str = "") -> httpx.Response:
        customer = (await self.made("customers", "email=a@b.mx"))["id"]
        method = (await self.made(f"payment_methods/{card}/attach", f"customer={customer}"))["id"]
        product = (await self.made("products", "name=Pro"))["id"]
        price = await self.made(
            "prices",
            f"product={product}&currency=mxn&unit_amount=19900&recurring[interval]=month",
        )
        return await self.post(
            "subscriptions",
            f"customer={customer}&items[0][price]={price['id']}"
            f"&default_payment_method={method}{more}",
        )


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    made = Caller(Core(SandboxConfig(stripe_api_key=KEY)))
    yield made
    await made.http.aclose()


async def test_a_key_is_needed(caller: Caller) -> None:
    for given in ("", "Bearer sk_test_other", f"Basic {KEY}"):
        answer = await caller.http.get("customers/cus_1", headers={"Authorization": given})
        assert answer.status_code == 401
        assert answer.headers["request-id"].startswith("req_")


async def test_another_api_version_is_refused(caller: Caller) -> None:
    answer = await caller.post("customers", **{"Stripe-Version": "2024-06-20"})
    assert answer.status_code == 400


async def test_the_parameter_that_endive_removed_is_refused(caller: Caller) -> None:
    answer = await caller.post(
        "payment_intents", "amount=100&currency=mxn&payment_method_types[0]=card"
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "payment_method_types_no_longer_supported"


@pytest.mark.parametrize(
    ("path", "form", "param"),
    [
        ("customers", "nickname=x", "nickname"),
        ("payment_intents", "currency=mxn", "amount"),
        ("payment_intents", "amount=ten&currency=mxn", "amount"),
        ("payment_intents", "amount=100&currency=mxn&customer=cus_none", "customer"),
        (
            "payment_intents",
            "amount=100&currency=usd&allowed_payment_method_types[0]=oxxo",
            "allowed_payment_method_types",
        ),
        ("prices", "product=none&currency=mxn&unit_amount=1", "product"),
    ],
)
async def test_a_refusal_names_the_parameter(
    caller: Caller, path: str, form: str, param: str
) -> None:
    answer = await caller.post(path, form)
    assert answer.status_code in {400, 404}
    assert answer.json()["error"]["param"] == param


async def test_the_same_key_gives_the_same_answer(caller: Caller) -> None:
    first = await caller.post("customers", "email=a@b.mx", key="k1")
    again = await caller.post("customers", "email=a@b.mx", key="k1")
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert len(caller.core.collection("stripe", "customers")) == 1


async def test_a_key_is_good_for_one_request(caller: Caller) -> None:
    await caller.post("customers", "email=a@b.mx", key="k1")
    for path, form in (("customers", "email=other@b.mx"), ("products", "email=a@b.mx")):
        answer = await caller.post(path, form, key="k1")
        assert answer.status_code == 400
        assert answer.json()["error"]["type"] == "idempotency_error"


async def test_a_request_that_failed_validation_does_not_use_up_its_key(caller: Caller) -> None:
    bad = await caller.post("products", "description=x", key="k1")
    assert bad.status_code == 400
    good = await caller.post("products", "name=Pro", key="k1")
    assert good.status_code == 200


async def test_a_decline_is_kept_under_its_key(caller: Caller) -> None:
    subscription = await caller.subscription(
        "pm_card_chargeCustomerFail", "&payment_behavior=default_incomplete"
    )
    invoice = subscription.json()["latest_invoice"]
    first = await caller.post(f"invoices/{invoice}/pay", key="k1")
    again = await caller.post(f"invoices/{invoice}/pay", key="k1")
    assert first.status_code == again.status_code == 402
    assert again.headers["idempotent-replayed"] == "true"
    error = first.json()["error"]
    assert error["type"] == "card_error"
    assert (error["code"], error["decline_code"]) == ("card_declined", "generic_decline")
    assert error["payment_intent"]["status"] == "requires_payment_method"
    assert len(caller.core.collection("stripe", "charges")) == 1


@pytest.mark.parametrize(
    ("behavior", "status"),
    [("default_incomplete", "incomplete"), ("allow_incomplete", "active")],
)
async def test_the_payment_behavior_decides_about_the_first_payment(
    caller: Caller, behavior: str, status: str
) -> None:
    made = await caller.subscription("pm_card_visa", f"&payment_behavior={behavior}")
    assert made.json()["status"] == status


async def test_error_if_incomplete_leaves_nothing(caller: Caller) -> None:
    refused = await caller.subscription(
        "pm_card_chargeCustomerFail", "&payment_behavior=error_if_incomplete"
    )
    assert refused.status_code == 402
    assert caller.core.collection("stripe", "subscriptions") == {}


async def test_canceling_twice_is_not_found(caller: Caller) -> None:
    made = (await caller.subscription("pm_card_visa")).json()
    assert (await caller.http.delete(f"subscriptions/{made['id']}")).json()["status"] == "canceled"
    again = await caller.http.delete(f"subscriptions/{made['id']}")
    assert again.status_code == 404
    assert again.json()["error"]["code"] == "resource_missing"


async def test_references_are_expanded_when_asked(caller: Caller) -> None:
    made = (await caller.subscription("pm_card_visa")).json()
    paths = [
        "customer",
        "latest_invoice.payments.data.payment.payment_intent",
        "latest_invoice.confirmation_secret",
    ]
    shown = (
        await caller.http.get(f"subscriptions/{made['id']}", params={"expand[]": paths})
    ).json()
    assert shown["customer"]["email"] == "a@b.mx"
    [payment] = shown["latest_invoice"]["payments"]["data"]
    intent = payment["payment"]["payment_intent"]
    assert intent["status"] == "succeeded"
    secret = shown["latest_invoice"]["confirmation_secret"]["client_secret"]
    assert secret == intent["client_secret"]
    assert isinstance(made["latest_invoice"], str)


async def test_lists_come_in_pages_newest_first(caller: Caller) -> None:
    ids = [
        (await caller.made("payment_intents", "amount=100&currency=mxn"))["id"] for _ in range(3)
    ]
    first = (await caller.http.get("payment_intents", params={"limit": 2})).json()
    assert [item["id"] for item in first["data"]] == [ids[2], ids[1]]
    assert first["has_more"]
    rest = await caller.http.get("payment_intents", params={"limit": 2, "starting_after": ids[1]})
    assert [item["id"] for item in rest.json()["data"]] == [ids[0]]
    assert not rest.json()["has_more"]


async def test_everything_survives_a_restart(tmp_path: Path) -> None:
    config = SandboxConfig(stripe_api_key=KEY, state_file=tmp_path / "state.json")
    before = Caller(Core(config))
    made = (await before.subscription("pm_card_visa")).json()
    await before.http.aclose()

    after = Caller(Core(config))
    after.core.clock.advance_to(made["items"]["data"][0]["current_period_end"] + 1)
    shown = (await after.http.get(f"subscriptions/{made['id']}")).json()
    await after.http.aclose()

    assert shown["status"] == "active"
    assert shown["latest_invoice"] != made["latest_invoice"]
    assert [charge["status"] for charge in after.core.charges] == ["paid", "paid"]


async def test_a_reset_forgets_everything(caller: Caller) -> None:
    await caller.subscription("pm_card_visa")
    caller.core.reset()
    assert caller.core.charges == []
    assert (await caller.http.get("subscriptions")).json()["data"] == []
    assert (await caller.subscription("pm_card_visa")).status_code == 200


async def test_unknown_references_are_key_errors(caller: Caller) -> None:
    for act in (
        caller.simulator.pay("none", None),
        caller.simulator.expire("none"),
        caller.simulator.renew("none", "paid"),
    ):
        with pytest.raises(KeyError):
            await act


def test_forms_are_decoded() -> None:
    decoded = decode("a=1&b[0][c]=2&b[1][c]=3&d[e][f]=4&g[]=5&g[]=6&h=")
    assert decoded == {
        "a": "1",
        "b": [{"c": "2"}, {"c": "3"}],
        "d": {"e": {"f": "4"}},
        "g": ["5", "6"],
        "h": "",
    }


def seconds(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp())  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1, seconds(2027, 2, 28, 12)),
        (2, seconds(2027, 3, 31, 12)),
        (3, seconds(2027, 4, 30, 12)),
        (13, seconds(2028, 2, 29, 12)),
        (120, seconds(2037, 1, 31, 12)),
    ],
)
def test_the_anchor_day_comes_back_after_short_months(number: int, expected: int) -> None:
    assert boundary(seconds(2027, 1, 31, 12), "month", 1, number) == expected


def test_a_leap_day_is_kept_for_leap_years() -> None:
    anchor = seconds(2028, 2, 29)
    assert boundary(anchor, "year", 1, 1) == seconds(2029, 2, 28)
    assert boundary(anchor, "year", 1, 4) == seconds(2032, 2, 29)


def test_a_voucher_dies_at_midnight_in_mexico_city() -> None:
    # 04:00 UTC on the 2nd is 22:00 on the 1st there.
    assert last_second_of_day(seconds(2027, 3, 2, 4), 1) == seconds(2027, 3, 3, 5, 59, 59)


def test_a_clabe_carries_its_check_digit() -> None:
    for _ in range(50):
        clabe = new_clabe()
        assert len(clabe) == 18
        weighted = [int(d) * (3, 7, 1)[i % 3] % 10 for i, d in enumerate(clabe[:17])]
        assert (sum(weighted) + int(clabe[17])) % 10 == 0
