"""Every fault at every call that has an effect: its class is right, and repeating it makes no second one."""

from __future__ import annotations

from collections import Counter

import pytest

from models.outcomes import FallbackReason, OutcomeClass
from providers.failures import FailureKind, ProviderFailure
from tests.providers.contract.acts import ACTS, Act
from tests.providers.contract.bench import HASTY_SECONDS, Bench
from tests.providers.contract.failing import assert_discreet

# A refusal that came before anything was done is the only one that is known to have had no effect.
CLASSES: dict[str, tuple[FailureKind, FallbackReason]] = {
    "down": (FailureKind.UNKNOWN, FallbackReason.UNAVAILABLE),
    "error": (FailureKind.UNKNOWN, FallbackReason.API_ERROR),
    "rate_limit": (FailureKind.UNAVAILABLE, FallbackReason.API_ERROR),
    "slow": (FailureKind.UNKNOWN, FallbackReason.TIMEOUT),
    "applied_then_timeout": (FailureKind.UNKNOWN, FallbackReason.TIMEOUT),
    "applied_then_error": (FailureKind.UNKNOWN, FallbackReason.API_ERROR),
}
SECONDS = {"slow": HASTY_SECONDS + 0.2, "rate_limit": 7.0}
WAITED_FOR = {"slow", "applied_then_timeout"}
APPLIED = {"applied_then_timeout", "applied_then_error"}

every_act = pytest.mark.parametrize(
    "act",
    [
        pytest.param(act, id=act.name, marks=[pytest.mark.needs(act.needs)] if act.needs else [])
        for act in ACTS
    ],
)


@every_act
@pytest.mark.parametrize("mode", CLASSES)
async def test_a_fault_has_its_class_and_leaves_one_object(
    bench: Bench, act: Act, mode: str
) -> None:
    operation = bench.profile.operations.get(act.name)
    ask = await act.staged(bench)
    if operation is None:
        assert bench.profile.no_call[act.name]
        await bench.fault("*", mode)
        assert await ask(bench.provider, False)
        return
    before = bench.count(operation.makes) if operation.makes else 0
    money_before = await movements(bench)
    provider = await bench.hasty_adapter() if mode in WAITED_FOR else bench.provider
    await bench.fault(operation.name, mode, SECONDS.get(mode))
    try:
        await ask(provider, False)
    except ProviderFailure as failure:
        check(bench, act, mode, failure)
    else:
        assert mode in APPLIED, (
            "an answer, although there was none: only what was done can be found"
        )
    if mode == "slow":
        return  # It is done at some time; what a repetition meets is a matter of chance.

    await ask(bench.provider, True)

    if operation.makes is not None:
        assert bench.count(operation.makes) == before + 1
    for kind, count in (await movements(bench)).items():
        assert count <= money_before[kind] + 1, f"a second {kind}"


async def movements(bench: Bench) -> Counter[str]:
    """How much money has moved, or may still move, by kind."""
    booked = await bench.book("paid", "pending", "succeeded")
    return Counter(entry["kind"] for entry in booked)


def check(bench: Bench, act: Act, mode: str, failure: ProviderFailure) -> None:
    kind, reason = CLASSES[mode]
    if kind is FailureKind.UNKNOWN:
        kind = act.unknown
    assert (failure.kind, failure.fallback_reason) == (kind, reason)
    known = kind is not FailureKind.UNKNOWN
    assert failure.outcome is (OutcomeClass.NOT_ATTEMPTED if known else OutcomeClass.UNKNOWN)
    assert failure.retry_after_seconds == (7.0 if mode == "rate_limit" else None)
    assert_discreet(bench, failure)
