"""Benefits given and taken away without a sale: HTTP, the real workflow, Polar's simulator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update
from starlette.applications import Starlette
from temporalio.client import Client
from temporalio.worker import Worker

from abono.simulate.serving import serving
from activities.benefits import BenefitActivities
from models.commands import PROVIDER_TASK_QUEUES, TASK_QUEUE
from models.outcomes import ProviderName
from models.storage.engine import Sessions
from models.storage.tables import (
    AuditEntry,
    BenefitGrant,
    IdempotencyKey,
    OutboundEvent,
    ProviderCustomer,
)
from providers.drafts import BenefitDraft, CheckoutDraft, ProductDraft
from providers.polar import PolarProvider
from providers.registry import ProviderRegistry
from sandbox.app import create_app
from sandbox.core import SandboxConfig
from sandbox.faults import Fault, FaultMode
from tests.api.support import Api, eventually, organization
from tests.api.test_purchases import HANDBOOK
from workflows.benefit import BenefitWorkflow


@pytest.fixture
def sandbox() -> Starlette:
    return create_app(SandboxConfig())


@pytest.fixture
async def polar(sandbox: Starlette) -> AsyncIterator[PolarProvider]:
    async with serving(sandbox) as url:
        yield PolarProvider(
            api_key="polar_oat_sandbox", api_base=f"{url}/polar", timeout_seconds=0.5
        )


@pytest.fixture
def providers(polar: PolarProvider) -> ProviderRegistry:
    return ProviderRegistry({ProviderName.POLAR: polar})


@pytest.fixture(autouse=True)
async def engine(
    temporal: Client, sessions: Sessions, providers: ProviderRegistry
) -> AsyncIterator[None]:
    benefits = BenefitActivities(sessions, providers)
    queue = PROVIDER_TASK_QUEUES[ProviderName.POLAR]
    async with (
        Worker(temporal, task_queue=TASK_QUEUE, workflows=[BenefitWorkflow]),
        Worker(temporal, task_queue=queue, activities=[benefits.change_benefit]),
    ):
        yield


async def stage(api: Api) -> tuple[UUID, UUID, str]:
    """Somebody, a benefit, and the address at which it is given or taken away."""
    who = organization(api.ours)
    await api.add(who)
    product = (await api.ours.post("/products", HANDBOOK)).json()
    benefit_id = UUID(product["benefits"][0]["id"])
    return who.id, benefit_id, f"/organizations/{who.id}/benefits/{benefit_id}"


def carriers(sandbox: Starlette) -> list[dict[str, Any]]:
    """The free subscriptions at Polar that carry a benefit, and live."""
    found = sandbox.state.polar.subscriptions.all.values()
    return [one for one in found if one["ended_at"] is None]


async def test_given_once_and_taken_away(api: Api, sandbox: Starlette) -> None:
    organization_id, benefit_id, path = await stage(api)
    before = (await api.ours.get(path)).json()
    assert (before["status"], before["updated_at"]) == (None, None)

    first = await api.ours.post(f"{path}/grant", key="give")
    again = await api.ours.post(f"{path}/grant", key="give")
    other = await api.ours.post(f"{path}/grant", key="another")
    assert (first.status_code, again.json(), other.json()) == (200, first.json(), first.json())
    seen = first.json()
    assert (seen["status"], seen["provider"], seen["purchase_id"]) == ("granted", "polar", None)
    assert (await api.ours.get(path)).json() == seen
    assert (await api.ours.get(f"/organizations/{organization_id}/benefits")).json()["data"] == [
        seen
    ]
    assert len(carriers(sandbox)) == 1

    taken = await api.ours.post(f"{path}/revoke", key="take")
    assert (taken.status_code, taken.json()["status"]) == (200, "revoked")
    assert (await api.ours.post(f"{path}/revoke", key="again")).status_code == 200
    assert carriers(sandbox) == []

    [grant] = await api.all(select(BenefitGrant))
    assert (grant.benefit_id, grant.status) == (benefit_id, "revoked")
    audit = await api.all(select(AuditEntry).order_by(AuditEntry.at, AuditEntry.version))
    changes = [entry for entry in audit if entry.action == "benefit.status"]
    assert [entry.after["status"] for entry in changes] == ["granted", "revoked"]
    wishes = [entry for entry in audit if entry.actor.startswith("key:")]
    assert [entry.action for entry in wishes] == ["benefit.grant"] * 2 + ["benefit.revoke"] * 2
    events = (await api.ours.get("/events")).json()["data"]
    assert [(one["type"], one["sequence"]) for one in events] == [
        ("benefit.granted", 1),
        ("benefit.revoked", 2),
    ]
    assert events[0]["data"]["organization_id"] == str(organization_id)


async def test_an_old_wish_is_not_carried_out_after_a_later_one(
    api: Api, sandbox: Starlette
) -> None:
    """The answer to the first was lost with the process that had it; its caller comes back late."""
    _, _, path = await stage(api)
    await api.ours.post(f"{path}/grant", key="give")
    await api.ours.post(f"{path}/revoke", key="take")
    unanswered = {"response_status": None, "response_body": None}
    await api.run(update(IdempotencyKey).where(IdempotencyKey.key == "give").values(unanswered))
    again = await api.ours.post(f"{path}/grant", key="give")
    assert (again.status_code, again.json()["status"]) == (200, "revoked")
    assert carriers(sandbox) == []


async def test_what_an_organization_never_had_is_not_taken_away(api: Api) -> None:
    _, _, path = await stage(api)
    refused = await api.ours.post(f"{path}/revoke")
    assert (refused.status_code, refused.json()["code"]) == (409, "benefit_not_granted")
    assert await api.all(select(BenefitGrant)) == []


async def test_what_waits_for_nobody_is_withdrawn(api: Api) -> None:
    """Bought from a provider that hands out nothing: it waited for us to give it."""
    organization_id, benefit_id, path = await stage(api)
    await api.add(
        BenefitGrant(
            application_id=api.ours.application_id,
            organization_id=organization_id,
            benefit_id=benefit_id,
            provider="stripe",
            status="waiting",
            error_code="provider_grants_no_benefits",
            updated_at=datetime.now(UTC),
        )
    )
    taken = await api.ours.post(f"{path}/revoke")
    assert (taken.status_code, taken.json()["status"]) == (200, "revoked")
    given = await api.ours.post(f"{path}/grant")
    assert (given.json()["status"], given.json()["provider"]) == ("granted", "polar")


async def test_what_came_with_a_purchase_goes_with_its_refund_alone(
    api: Api, sandbox: Starlette, polar: PolarProvider
) -> None:
    organization_id, benefit_id, path = await stage(api)
    await api.ours.post(f"{path}/grant")
    await _buy(api, sandbox, polar, organization_id, benefit_id)
    refused = await api.ours.post(f"{path}/revoke")
    assert (refused.status_code, refused.json()["code"]) == (409, "benefit_granted_by_purchase")
    assert (await api.ours.get(path)).json()["status"] == "granted"
    assert carriers(sandbox) == []


@pytest.mark.parametrize("act", ["grant", "revoke"])
async def test_nobody_reaches_another_tenants(api: Api, sandbox: Starlette, act: str) -> None:
    organization_id, benefit_id, path = await stage(api)
    stranger = organization(api.theirs)
    await api.add(stranger)
    for tenant, address in (
        (api.theirs, path),
        (api.theirs, f"/organizations/{stranger.id}/benefits/{benefit_id}"),
        (api.ours, f"/organizations/{stranger.id}/benefits/{benefit_id}"),
        (api.ours, f"/organizations/{organization_id}/benefits/{uuid4()}"),
        (api.ours, f"/organizations/{uuid4()}/benefits/{benefit_id}"),
    ):
        refused = await tenant.post(f"{address}/{act}")
        assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
        assert (await tenant.get(address)).status_code == 404
    listed = await api.theirs.get(f"/organizations/{organization_id}/benefits")
    assert listed.status_code == 404
    assert sandbox.state.polar.world.all("customers") == {}


async def test_without_a_provider_it_is_said_so(api: Api) -> None:
    _, _, path = await stage(api)
    api.context.providers = ProviderRegistry({})
    refused = await api.ours.post(f"{path}/grant")
    assert (refused.status_code, refused.json()["code"]) == (409, "provider_not_configured")


@pytest.mark.parametrize(
    ("operation", "mode"),
    [
        ("customers.create", FaultMode.APPLIED_THEN_ERROR),
        ("benefits.create", FaultMode.APPLIED_THEN_ERROR),
        ("products.create", FaultMode.APPLIED_THEN_ERROR),
        ("subscriptions.create", FaultMode.APPLIED_THEN_TIMEOUT),
    ],
)
async def test_a_lost_answer_gives_it_once(
    api: Api, sandbox: Starlette, operation: str, mode: FaultMode
) -> None:
    """The caller is told 202, or the result when the second try is quick enough."""
    _, _, path = await stage(api)
    fault = Fault(provider="polar", operation=operation, mode=mode, count=1)
    sandbox.state.core.faults.add(fault)
    assert (await api.ours.post(f"{path}/grant", key="give")).status_code in {200, 202}

    async def given() -> bool:
        return bool((await api.ours.get(path)).json()["status"] == "granted")

    await eventually(given)
    assert len(carriers(sandbox)) == 1
    assert len(await api.all(select(OutboundEvent))) == 1


async def test_while_polar_is_away_wishes_wait_in_order(api: Api, sandbox: Starlette) -> None:
    _, _, path = await stage(api)
    sandbox.state.core.faults.add(Fault(provider="polar", mode=FaultMode.DOWN))
    api.context.response_wait_seconds = 0.3
    first = await api.ours.post(f"{path}/grant", key="give")
    assert (first.status_code, first.json()["status"]) == (202, None)
    assert (await api.ours.post(f"{path}/revoke", key="take")).status_code == 202
    again = await api.ours.post(f"{path}/grant", key="give")
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (202, "true")
    sandbox.state.core.faults.clear()

    async def told() -> bool:
        return len(await api.all(select(OutboundEvent))) == 2

    await eventually(told, seconds=20)
    assert (await api.ours.get(path)).json()["status"] == "revoked"
    assert carriers(sandbox) == []


async def _buy(
    api: Api, sandbox: Starlette, polar: PolarProvider, organization_id: UUID, benefit_id: UUID
) -> None:
    """The same benefit, with an order at Polar."""
    [customer_id] = await api.all(select(ProviderCustomer.provider_customer_id))
    provider_benefit_id = await polar.ensure_benefit(
        BenefitDraft(benefit_id=str(benefit_id), type="custom", description="Thank you")
    )
    product_id = await polar.ensure_product(
        ProductDraft(
            product_id=str(uuid4()),
            name="Handbook",
            amount_minor=4900,
            currency="USD",
            provider_benefit_ids=(provider_benefit_id,),
        )
    )
    page = await polar.create_checkout(
        CheckoutDraft(
            attempt_id=str(uuid4()),
            invoice_id=str(uuid4()),
            organization_id=str(organization_id),
            provider_customer_id=customer_id,
            provider_product_id=product_id,
            description="Handbook",
            amount_minor=4900,
            currency="USD",
            success_url="https://shop.example/thanks",
            expires_at=datetime.now(UTC) + timedelta(days=1),
        )
    )
    await sandbox.state.polar.pay(page.provider_payment_id, None)
