"""The capability matrix is the truth: what is announced works, what is not is refused with its sentence."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from inspect import getmembers, isfunction
from pathlib import Path
from typing import Any

import pytest

from models.money import exponent_of
from models.outcomes import Instrument, OutcomeClass, ProviderName
from providers.capabilities import Capability
from providers.failures import FailureKind
from providers.protocol import PaymentProvider
from sandbox.faults import Fault, FaultMode
from tests.providers.contract import acts
from tests.providers.contract.acts import ACTS, Act, Ask
from tests.providers.contract.bench import Bench
from tests.providers.contract.failing import failure_of
from tests.providers.contract.needs import needed_by
from tests.providers.contract.profiles import PROFILES, Profile

# Reading, closing, and what `test_webhooks` is about: nothing that a provider may lack.
EVERYBODYS_METHODS = {
    "aclose",
    "find_invoice",
    "get_dispute",
    "get_invoice",
    "get_payment",
    "get_refund",
    "get_subscription",
    "load",
    "parse_webhook",
}


@dataclass(frozen=True)
class Probe:
    """`stage_needs`: without it there is no way to where the act is possible, so it is asked for bare."""

    name: str
    capability: Capability
    staged: Callable[[Bench], Awaitable[Ask]]
    bare: Callable[[Bench], Ask]
    stage_needs: Capability


def of_act(act: Act, capability: Capability) -> Probe:
    needs = Capability.HOSTED_CHECKOUT if act.name == "cancel_checkout" else capability
    return Probe(act.name, capability, act.staged, act.bare, needs)


def trial_end() -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=14)


async def staged_trial(bench: Bench) -> Ask:
    draft = await bench.ready_to_subscribe(trial_end=trial_end())
    return lambda provider, retry: provider.prepare_subscription(draft, retry=retry)


def bare_trial(bench: Bench) -> Ask:
    draft = bench.subscription_draft(acts.CUSTOMER, trial_end=trial_end())
    return lambda provider, retry: provider.prepare_subscription(draft, retry=retry)


async def staged_in_browser(bench: Bench) -> Ask:
    draft = await bench.ready_to_subscribe()
    without = draft.model_copy(update={"provider_payment_method_id": None})
    return lambda provider, retry: provider.prepare_subscription(without, retry=retry)


def bare_in_browser(bench: Bench) -> Ask:
    draft = bench.subscription_draft(acts.CUSTOMER, provider_payment_method_id=None)
    return lambda provider, retry: provider.prepare_subscription(draft, retry=retry)


async def staged_cash_refund(bench: Bench) -> Ask:
    _, slip = await bench.issued(Instrument.OXXO)
    await bench.pay(slip)
    return acts.refund(bench, slip.provider_payment_id)


async def staged_grants(bench: Bench) -> Ask:
    customer_id = await bench.customer()
    return lambda provider, _retry: provider.list_grants(customer_id)


def bare_grants(_bench: Bench) -> Ask:
    return lambda provider, _retry: provider.list_grants(acts.CUSTOMER)


async def staged_price(bench: Bench) -> Ask:
    draft = bench.plan_draft()
    plan_id = await bench.provider.ensure_plan(draft)
    return lambda provider, _retry: provider.why_not_on_sale(draft, plan_id)


def bare_price(bench: Bench) -> Ask:
    draft = bench.plan_draft()
    return lambda provider, _retry: provider.why_not_on_sale(draft, draft.plan_id)


C = Capability
PROBES = [
    *(of_act(act, act.needs) for act in ACTS if act.needs is not None),
    Probe("trial", C.TRIAL, staged_trial, bare_trial, C.TRIAL),
    Probe("first_payment_in_browser", C.FIRST_PAYMENT_IN_BROWSER, staged_in_browser,
          bare_in_browser, C.FIRST_PAYMENT_IN_BROWSER),
    Probe("cash_refund", C.CASH_REFUND, staged_cash_refund,
          acts.prepare_payment(Instrument.OXXO), C.CASH_VOUCHER),
    Probe("list_grants", C.BENEFIT, staged_grants, bare_grants, C.BENEFIT),
    Probe("why_not_on_sale", C.CARD_SUBSCRIPTION, staged_price, bare_price, C.CARD_SUBSCRIPTION),
]  # fmt: skip


def test_every_capability_has_a_probe_and_every_method_an_act() -> None:
    assert {probe.capability for probe in PROBES} == set(Capability)
    methods = {name for name, _ in getmembers(PaymentProvider, isfunction) if name[0] != "_"}
    asked = {act.method for act in ACTS} | {"list_grants", "why_not_on_sale"}
    assert methods == asked | EVERYBODYS_METHODS


def test_every_provider_is_held_to_the_contract() -> None:
    assert {profile.name for profile in PROFILES} == set(ProviderName)


def test_the_matrix_is_whole(profile: Profile) -> None:
    row = profile.capabilities
    assert row.supports | set(row.refusals) == set(Capability)
    assert not row.supports & set(row.refusals)
    assert set(row.notes) <= row.supports
    for sentence in (*row.refusals.values(), *row.notes.values()):
        assert len(sentence.split()) >= 4
        assert "|" not in sentence
    for currency in row.currencies or ():
        assert exponent_of(currency) in {0, 2, 3}


def test_every_act_that_is_supported_is_tried_with_faults(profile: Profile) -> None:
    supports = profile.capabilities.supports
    supported = {act.name for act in ACTS if act.needs is None or act.needs in supports}
    assert set(profile.operations) | set(profile.no_call) == supported


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
async def test_what_is_announced_works_and_the_rest_is_refused(bench: Bench, probe: Probe) -> None:
    row = bench.capabilities
    if probe.stage_needs in row.supports:
        ask = await probe.staged(bench)
    else:
        ask = probe.bare(bench)
    if probe.capability in row.supports:
        await ask(bench.provider, False)
        return
    failure = await failure_of(bench, ask(bench.provider, False))
    assert failure.kind is FailureKind.UNSUPPORTED
    assert failure.outcome is OutcomeClass.NOT_ATTEMPTED
    assert failure.message == row.refusals[probe.capability]
    assert failure.code


@pytest.mark.parametrize(
    "change", [{"currency": "USD"}, {"currency": "EUR"}], ids=lambda change: str(change)
)
@pytest.mark.needs(Capability.CASH_VOUCHER)
async def test_a_slip_in_a_foreign_currency_is_refused_by_type(
    bench: Bench, change: dict[str, Any]
) -> None:
    draft = bench.payment_draft(acts.CUSTOMER, Instrument.OXXO, **change)
    failure = await failure_of(bench, bench.provider.prepare_payment(draft))
    assert failure.kind is FailureKind.UNSUPPORTED


def test_no_test_is_skipped_for_all_providers(request: pytest.FixtureRequest) -> None:
    """Whatever part of the contract is being run."""
    here = Path(__file__).parent
    mine = [item for item in request.session.items if item.path.parent == here]
    assert mine
    for item in mine:
        needed = set(needed_by(item))
        able = [each.name for each in PROFILES if needed <= each.capabilities.supports]
        assert able, f"{item.name}: nobody can {needed}"


def test_only_the_matrix_skips() -> None:
    here = Path(__file__).parent
    words = ("pytest." + "skip", "mark." + "skip", "mark." + "xfail", "import" + "orskip")
    found = {
        path.name: path.read_text().count(word)
        for path in here.glob("*.py")
        for word in words
        if word in path.read_text()
    }
    assert found == {"conftest.py": 1}


async def test_loading_makes_no_call(bench: Bench) -> None:
    bench.core.faults.add(Fault(provider=str(bench.name), mode=FaultMode.DOWN))
    await bench.provider.load()
    await bench.provider.load()
