"""The rules for money by hand: each case has one, and every way to arrive leads to a case."""

from __future__ import annotations

from itertools import product

import pytest

from models.billing_policy import BillingPolicy, SpareMoneyAction
from models.cash_rules import (
    CASH_RULES,
    Arrival,
    MoneyAction,
    MoneyCase,
    action_for,
    case_of,
)
from models.states import InvoiceStatus

SPARE = {
    MoneyCase.OTHER_CURRENCY,
    MoneyCase.TOO_MUCH,
    MoneyCase.PAID_TWICE,
    MoneyCase.AFTER_END,
    MoneyCase.WHILE_PAUSED,
    MoneyCase.AFTER_VOID,
}


def test_each_case_has_a_rule_in_order() -> None:
    assert list(CASH_RULES) == list(MoneyCase)
    settings = {rule.setting for rule in CASH_RULES.values()} - {None}
    assert settings <= set(BillingPolicy.model_fields)


def test_whatever_arrives_has_a_case() -> None:
    flags = (False, True)
    for same, applied, over, paused, status in product(
        flags, (0, 5), flags, flags, [str(status) for status in InvoiceStatus]
    ):
        case = case_of(Arrival(same, applied, over, paused, status))
        assert case in SPARE
        assert (case is MoneyCase.OTHER_CURRENCY) == (not same)


@pytest.mark.parametrize(
    ("arrival", "case"),
    [
        (Arrival(False, 0, True, False, "paid"), MoneyCase.OTHER_CURRENCY),
        (Arrival(True, 5, True, False, "paid"), MoneyCase.TOO_MUCH),
        (Arrival(True, 0, True, False, "paid"), MoneyCase.PAID_TWICE),
        (Arrival(True, 0, True, False, "void"), MoneyCase.AFTER_END),
        (Arrival(True, 0, False, True, "void"), MoneyCase.WHILE_PAUSED),
        (Arrival(True, 0, False, False, "void"), MoneyCase.AFTER_VOID),
    ],
)
def test_the_strongest_reason_is_the_case(arrival: Arrival, case: MoneyCase) -> None:
    assert case_of(arrival) is case


@pytest.mark.parametrize("case", sorted(SPARE))
@pytest.mark.parametrize("over", [False, True])
@pytest.mark.parametrize("wish", list(SpareMoneyAction))
def test_a_plan_may_say_otherwise_but_credit_needs_coming_invoices(
    case: MoneyCase, over: bool, wish: SpareMoneyAction
) -> None:
    policy = BillingPolicy(spare_money=wish, late_money=wish)
    action = action_for(case, policy, subscription_over=over)
    if case is MoneyCase.OTHER_CURRENCY or (over and wish is SpareMoneyAction.CREDIT):
        assert action is MoneyAction.HOLD
    elif over or CASH_RULES[case].setting == "spare_money":
        assert str(action) == str(wish)


def test_without_a_word_of_the_plan_money_is_held() -> None:
    for case, over in product(SPARE, (False, True)):
        assert action_for(case, BillingPolicy(), subscription_over=over) is MoneyAction.HOLD
        assert CASH_RULES[case].action is MoneyAction.HOLD
