"""Routing: every set of facts has one answer, and every provider that is left out has a reason."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.outcomes import Instrument, ProviderName
from models.routing import (
    ProviderAbility,
    RoutingDecision,
    RoutingFacts,
    TransactionType,
    decide_route,
)

STRIPE, CONEKTA, POLAR = ProviderName.STRIPE, ProviderName.CONEKTA, ProviderName.POLAR
REASONS = {"provider_not_configured", "instrument", "currency", "payment_method"}
EVERYTHING = ProviderAbility(configured=True, instruments=frozenset(Instrument))
NOTHING = ProviderAbility(configured=False, instruments=frozenset())

abilities = st.builds(
    ProviderAbility,
    configured=st.booleans(),
    instruments=st.frozensets(st.sampled_from(Instrument)),
    currencies=st.none() | st.frozensets(st.sampled_from(["MXN", "USD"])),
)
facts = st.builds(
    RoutingFacts,
    transaction_type=st.sampled_from(TransactionType),
    country=st.sampled_from(["MX", "US", "BR", "MEXICO", "mx", "", None]),
    instrument=st.sampled_from(Instrument),
    currency=st.sampled_from(["MXN", "USD", "JPY"]),
    force_provider=st.none() | st.sampled_from(ProviderName),
    payment_method_provider=st.none() | st.sampled_from(ProviderName),
    abilities=st.dictionaries(st.sampled_from(ProviderName), abilities),
)


def order_of(given_facts: RoutingFacts) -> list[ProviderName]:
    """The providers that the rule asks, in its order, written down a second time."""
    if given_facts.force_provider:
        return [given_facts.force_provider]
    if given_facts.transaction_type == "purchase":
        return [POLAR, STRIPE]
    order = [CONEKTA, STRIPE] if given_facts.country == "MX" else [STRIPE]
    owner = given_facts.payment_method_provider
    return [owner, *(p for p in order if p != owner)] if owner else order


def route(**changes: object) -> RoutingDecision:
    usual: dict[str, object] = {
        "country": "MX",
        "instrument": Instrument.OXXO,
        "currency": "MXN",
        "abilities": dict.fromkeys(ProviderName, EVERYTHING),
    }
    return decide_route(RoutingFacts.model_validate({**usual, **changes}))


@settings(max_examples=500)
@given(facts)
def test_every_provider_of_the_rule_is_a_candidate_or_refused_with_a_reason(
    given_facts: RoutingFacts,
) -> None:
    decision = decide_route(given_facts)
    order = order_of(given_facts)
    refused = [refusal.provider for refusal in decision.refusals]
    assert decision.preferred is order[0]
    assert decision.candidates == [p for p in order if p not in refused], "in the rule's order"
    assert sorted([*decision.candidates, *refused]) == sorted(order), "each exactly once"
    assert {refusal.code for refusal in decision.refusals} <= REASONS
    assert all(refusal.detail for refusal in decision.refusals)


@settings(max_examples=500)
@given(facts)
def test_a_candidate_can_do_what_is_asked_of_it(given_facts: RoutingFacts) -> None:
    for provider in decide_route(given_facts).candidates:
        ability = given_facts.abilities[provider]
        assert ability.configured
        assert given_facts.instrument in ability.instruments
        assert ability.currencies is None or given_facts.currency in ability.currencies


@given(facts)
def test_nobody_is_refused_without_need(given_facts: RoutingFacts) -> None:
    able = given_facts.model_copy(
        update={
            "abilities": dict.fromkeys(ProviderName, EVERYTHING),
            "payment_method_provider": None,
        }
    )
    decision = decide_route(able)
    assert (decision.candidates, decision.refusals) == (order_of(able), [])


@given(facts)
def test_the_same_facts_have_the_same_answer(given_facts: RoutingFacts) -> None:
    before = given_facts.model_dump()
    decision = decide_route(given_facts)
    assert decide_route(given_facts.model_copy(deep=True)) == decision
    assert given_facts.model_dump() == before


@given(facts, st.sampled_from(ProviderName))
def test_a_forced_provider_has_no_fallback(given_facts: RoutingFacts, forced: ProviderName) -> None:
    decision = decide_route(given_facts.model_copy(update={"force_provider": forced}))
    assert decision.rule == "forced_provider"
    assert decision.candidates in ([], [forced])


@given(facts, st.sampled_from(ProviderName))
def test_a_stored_card_is_asked_where_it_is_kept_and_then_on_the_page_of_the_stand_in(
    given_facts: RoutingFacts, owner: ProviderName
) -> None:
    stored = given_facts.model_copy(update={"payment_method_provider": owner})
    candidates = decide_route(stored).candidates
    assert set(candidates) <= {owner, STRIPE}
    if owner in candidates:
        assert candidates[0] is owner
    moves = owner is not STRIPE and STRIPE in candidates
    if moves:
        assert stored.instrument is Instrument.CARD
        assert stored.transaction_type == "subscription"
        assert stored.force_provider is None


@pytest.mark.parametrize(
    ("changes", "rule", "candidates"),
    [
        ({}, "mexico", [CONEKTA, STRIPE]),
        # A stored card is charged where it is kept, wherever its owner has moved.
        ({"payment_method_provider": CONEKTA}, "mexico", [CONEKTA]),
        ({"payment_method_provider": STRIPE}, "stored_payment_method", [STRIPE]),
        (
            {"payment_method_provider": CONEKTA, "country": "US"},
            "stored_payment_method",
            [CONEKTA],
        ),
        ({"payment_method_provider": STRIPE, "force_provider": CONEKTA}, "forced_provider", []),
        ({"country": "US"}, "everyone_else", [STRIPE]),
        ({"country": None}, "everyone_else", [STRIPE]),
        ({"country": "MEXICO"}, "everyone_else", [STRIPE]),
        ({"transaction_type": "purchase"}, "product_purchase", [POLAR, STRIPE]),
        ({"transaction_type": "purchase", "country": "US"}, "product_purchase", [POLAR, STRIPE]),
        ({"force_provider": STRIPE}, "forced_provider", [STRIPE]),
        ({"force_provider": CONEKTA, "country": "US"}, "forced_provider", [CONEKTA]),
        ({"force_provider": POLAR, "transaction_type": "purchase"}, "forced_provider", [POLAR]),
    ],
)
def test_the_rules_in_their_order(
    changes: dict[str, object], rule: str, candidates: list[ProviderName]
) -> None:
    decision = route(**changes)
    assert (decision.rule, decision.candidates) == (rule, candidates)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"abilities": {STRIPE: EVERYTHING}}, "provider_not_configured"),
        ({"abilities": {STRIPE: EVERYTHING, CONEKTA: NOTHING}}, "provider_not_configured"),
        (
            {
                "instrument": Instrument.CARD,
                "abilities": {
                    STRIPE: EVERYTHING,
                    CONEKTA: ProviderAbility(
                        configured=True, instruments=frozenset({Instrument.OXXO})
                    ),
                },
            },
            "instrument",
        ),
        (
            {
                "currency": "USD",
                "abilities": {
                    STRIPE: EVERYTHING,
                    CONEKTA: ProviderAbility(
                        configured=True,
                        instruments=frozenset(Instrument),
                        currencies=frozenset({"MXN"}),
                    ),
                },
            },
            "currency",
        ),
    ],
)
def test_a_refusal_says_why(changes: dict[str, object], code: str) -> None:
    decision = route(**changes)
    assert [(r.provider, r.code) for r in decision.refusals] == [(CONEKTA, code)]
    assert (decision.preferred, decision.candidates) == (CONEKTA, [STRIPE])


def test_a_world_without_providers_still_gets_an_answer() -> None:
    for country, forced in product(["MX", "US", None], [None, *ProviderName]):
        decision = route(country=country, force_provider=forced, abilities={})
        assert decision.candidates == []
        assert decision.refusals
