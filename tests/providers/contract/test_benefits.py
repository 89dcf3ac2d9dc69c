"""Benefits without a sale: given once, told, taken away once."""

from __future__ import annotations

import pytest

from providers.capabilities import Capability
from providers.drafts import GrantDraft
from providers.failures import FailureKind
from tests.providers.contract.bench import Bench, unknown_id
from tests.providers.contract.failing import failure_of

pytestmark = pytest.mark.needs(Capability.BENEFIT)


async def ready(bench: Bench) -> GrantDraft:
    benefit_id = await bench.provider.ensure_benefit(bench.benefit_draft())
    return bench.grant_draft(await bench.customer(), benefit_id)


async def test_a_benefit_is_made_once(bench: Bench) -> None:
    draft = bench.benefit_draft()
    first = await bench.provider.ensure_benefit(draft)
    assert await bench.adapter().ensure_benefit(draft, retry=True) == first


async def test_given_once_and_again_it_is_one_grant(bench: Bench) -> None:
    draft = await ready(bench)
    first = await bench.provider.grant_benefit(draft)
    assert (first.is_granted, first.is_revoked) == (True, False)
    assert first.provider_benefit_id == draft.provider_benefit_id
    assert await bench.adapter().grant_benefit(draft, retry=True) == first
    assert await bench.provider.list_grants(draft.provider_customer_id) == [first]
    assert await bench.book("paid", "pending") == []


async def test_taken_away_once_and_again_it_is_gone(bench: Bench) -> None:
    draft = await ready(bench)
    await bench.provider.grant_benefit(draft)
    for _ in range(2):
        gone = await bench.provider.revoke_benefit(draft)
        assert gone.is_revoked
    grants = await bench.provider.list_grants(draft.provider_customer_id)
    assert [grant.is_revoked for grant in grants] == [True]


async def test_what_was_never_given_is_not_found(bench: Bench) -> None:
    failure = await failure_of(bench, bench.provider.revoke_benefit(await ready(bench)))
    assert failure.kind is FailureKind.NOT_FOUND


async def test_a_benefit_that_nobody_made_is_not_found(bench: Bench) -> None:
    draft = bench.grant_draft(await bench.customer(), unknown_id("benefit"))
    failure = await failure_of(bench, bench.provider.grant_benefit(draft))
    assert failure.kind is FailureKind.NOT_FOUND
