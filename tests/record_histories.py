"""Records the histories that `tests/workflows/test_replay.py` replays: `make record`.

Run it on purpose, when a released version's workflows have new paths worth keeping. It adds a folder
for the version in pyproject.toml and never touches those of earlier versions: histories of every
released shape must go on replaying, because subscriptions that old are still running. With names of
scenarios as arguments it records those alone, and leaves the other files as they are.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

from sqlalchemy import select
from temporalio.client import Client, WorkflowHistory
from temporalio.service import RPCError

from abono.simulate.quiet import quieten_sdk
from abono.simulate.world import World, open_world
from models.commands import Cancel, Resume, payment_workflow_id, resolve_workflow_id
from models.outcomes import Instrument, ProviderName
from models.storage.tables import ChargeAttempt
from models.subscription import SubscriptionTerms
from sandbox.faults import Fault, FaultMode
from tests.record_lives import LIFE_SCENARIOS
from tests.record_operating import OPERATING_SCENARIOS
from tests.record_purchases import PURCHASE_SCENARIOS, PurchaseScenario
from tests.support.database import TestDatabases, test_databases
from workflows.subscription import SubscriptionWorkflow

HISTORIES = Path(__file__).parent / "histories"
RUNS_KEPT_MAX = 10  # Of one subscription, the newest: a pause of 40 days is looked at five times.
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

Scenario = Callable[[World], Awaitable[SubscriptionTerms]]


async def voucher_paid_and_renewed(world: World) -> SubscriptionTerms:
    world.payer.after = DAY
    terms = await world.terms(Instrument.OXXO)
    await world.open(terms)
    await world.sleep(40 * DAY)
    return terms


async def voucher_expired_until_the_end(world: World) -> SubscriptionTerms:
    terms = await world.terms(Instrument.OXXO)
    await world.open(terms)
    await world.sleep(20 * DAY)
    return terms


async def voucher_answer_lost(world: World) -> SubscriptionTerms:
    fault = Fault(
        provider="conekta", operation="charges.create", mode=FaultMode.APPLIED_THEN_TIMEOUT, count=1
    )
    world.core.faults.add(fault)
    terms = await world.terms(Instrument.OXXO)
    await world.open(terms)
    await world.sleep(HOUR)
    return terms


async def voucher_fallback(world: World) -> SubscriptionTerms:
    world.core.faults.add(Fault(provider="conekta", mode=FaultMode.DOWN))
    terms = await world.terms(Instrument.OXXO)
    await world.open(terms)
    return terms


async def voucher_canceled(world: World) -> SubscriptionTerms:
    terms = await world.terms(Instrument.OXXO)
    handle, _ = await world.open(terms)
    cancel = Cancel(actor="record", immediately=True)
    await handle.execute_update(SubscriptionWorkflow.cancel, cancel)
    await world.sleep(HOUR)
    return terms


async def transfer_paid(world: World) -> SubscriptionTerms:
    world.payer.after = HOUR
    terms = await world.terms(Instrument.SPEI)
    await world.open(terms)
    await world.sleep(3 * DAY)
    return terms


async def card_renewed_then_canceled(world: World) -> SubscriptionTerms:
    terms = await _card(world, "pm_card_visa")
    handle, _ = await world.open(terms)
    await world.sleep(35 * DAY)
    await handle.execute_update(SubscriptionWorkflow.cancel, Cancel(actor="record"))
    await handle.execute_update(SubscriptionWorkflow.resume, Resume(actor="record"))
    await handle.execute_update(SubscriptionWorkflow.cancel, Cancel(actor="record"))
    await world.sleep(35 * DAY)
    return terms


async def card_refused(world: World) -> SubscriptionTerms:
    terms = await _card(world, "pm_card_visa_chargeDeclinedInsufficientFunds")
    await world.open(terms)
    await world.sleep(2 * DAY)
    return terms


async def card_past_due(world: World) -> SubscriptionTerms:
    terms = await _card(world, "pm_card_visa")
    await world.open(terms)
    await world.sleep(25 * DAY)
    row = await world.subscription(terms.subscription_id)
    await world.sandbox.state.stripe.renew(row.provider_subscription_id, "failed")
    await world.sleep(10 * DAY)
    return terms


async def card_trial(world: World) -> SubscriptionTerms:
    terms = await _card(world, "pm_card_visa", trial_days=14)
    await world.open(terms)
    await world.sleep(16 * DAY)
    return terms


async def card_in_mexico(world: World) -> SubscriptionTerms:
    terms = await world.terms(
        Instrument.CARD, card="tok_test_visa_4242", card_at=ProviderName.CONEKTA
    )
    await world.open(terms)
    await world.sleep(35 * DAY)
    return terms


async def _card(world: World, token: str, trial_days: int = 0) -> SubscriptionTerms:
    return await world.terms(
        Instrument.CARD,
        country="US",
        currency="USD",
        amount_minor=1900,
        time_zone="America/Chicago",
        card=token,
        trial_days=trial_days,
    )


SCENARIOS: tuple[Scenario, ...] = (
    voucher_paid_and_renewed,
    voucher_expired_until_the_end,
    voucher_answer_lost,
    voucher_fallback,
    voucher_canceled,
    transfer_paid,
    card_renewed_then_canceled,
    card_refused,
    card_past_due,
    card_trial,
    card_in_mexico,
    *OPERATING_SCENARIOS,
)


EVERY_SCENARIO: tuple[Scenario | PurchaseScenario, ...] = (
    *SCENARIOS,
    *PURCHASE_SCENARIOS,
    *LIFE_SCENARIOS,
)


async def record(databases: TestDatabases, folder: Path, wanted: Sequence[str]) -> int:
    """Play the wanted scenarios and keep their histories; returns how many."""
    count = 0
    for scenario in EVERY_SCENARIO:
        if scenario.__name__ not in wanted:
            continue
        async with open_world(databases) as world:
            for name, history in await _play(world, scenario):
                file = folder / f"{scenario.__name__}.{name}.json"
                file.write_text(history.to_json())
                count += 1
        sys.stdout.write(f"  recorded {scenario.__name__}\n")
    return count


async def _play(
    world: World, scenario: Scenario | PurchaseScenario
) -> list[tuple[str, WorkflowHistory]]:
    played = await scenario(world)
    if isinstance(played, SubscriptionTerms):
        return await _histories(world, played)
    found = []
    for name, workflow_id in played.workflow_ids.items():
        found += await _runs(world.client, workflow_id, name)
    return found


async def _histories(world: World, terms: SubscriptionTerms) -> list[tuple[str, WorkflowHistory]]:
    row = await world.subscription(terms.subscription_id)
    mine = ChargeAttempt.subscription_id == terms.subscription_id
    attempts = await world.all(select(ChargeAttempt.id).where(mine))
    found = await _runs(world.client, row.workflow_id, "subscription")
    for number, attempt in enumerate(sorted(attempts), start=1):
        found += await _runs(world.client, payment_workflow_id(attempt), f"payment-{number}")
        found += await _runs(world.client, resolve_workflow_id(attempt), f"resolve-{number}")
    return found


async def _runs(client: Client, workflow_id: str, name: str) -> list[tuple[str, WorkflowHistory]]:
    """The newest runs of a workflow, followed back through its continue-as-new chain."""
    found: list[tuple[str, WorkflowHistory]] = []
    run_id: str | None = None
    while len(found) < RUNS_KEPT_MAX:
        try:
            history = await client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history()
        except RPCError:
            break
        found.append((f"{name}-run{len(found) + 1}", history))
        started = history.events[0].workflow_execution_started_event_attributes
        run_id = started.continued_execution_run_id or None
        if run_id is None:
            break
    return found


def main() -> None:
    quieten_sdk()
    folder = HISTORIES / version("abono")
    wanted = sys.argv[1:]
    if not wanted:
        shutil.rmtree(folder, ignore_errors=True)
        wanted = [scenario.__name__ for scenario in EVERY_SCENARIO]
    folder.mkdir(parents=True, exist_ok=True)
    for old in [file for name in wanted for file in folder.glob(f"{name}.*.json")]:
        old.unlink()
    with tempfile.TemporaryDirectory() as home, test_databases(Path(home)) as databases:
        count = asyncio.run(record(databases, folder, wanted))
    sys.stdout.write(f"{count} histories in {folder.relative_to(Path.cwd())}\n")


if __name__ == "__main__":
    main()
