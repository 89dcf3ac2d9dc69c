"""Whatever happens to a cash balance: what is free came from the customer's bank, and nowhere else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from providers.stripe.cash_ledger import FUNDED, GIVEN_BACK, UNAPPLIED, Move, free, left_by

AMOUNT = st.integers(min_value=1, max_value=1_000)
ACTS = st.lists(st.tuples(st.sampled_from(["fund", "apply", "cancel", "refund"]), AMOUNT))


@given(ACTS)
def test_funded_money_is_free_until_it_is_paid_and_refunds_never_are(
    acts: list[tuple[str, int]],
) -> None:
    """Against a book of another kind: every peso is marked with where it came from."""
    balance: list[bool] = []  # Of each unit: whether it was given back.
    taken: dict[str, list[bool]] = {}
    moves: list[Move] = []
    for number, (act, amount) in enumerate(acts):
        intent_id = f"pi_{number}"
        if act == "fund":
            balance += [False] * amount
            moves.append(Move(FUNDED, amount))
        elif act == "apply" and balance:
            balance.sort()
            taken[intent_id], balance = balance[:amount], balance[amount:]
            moves.append(Move("applied_to_payment", -len(taken[intent_id]), intent_id))
        elif act == "cancel" and taken:
            intent_id, units = taken.popitem()
            balance += units
            moves.append(Move(UNAPPLIED, len(units), intent_id))
        elif act == "refund" and taken:
            _, units = taken.popitem()
            balance += [True] * len(units)
            moves.append(Move(GIVEN_BACK, len(units)))
        assert free(moves) == balance.count(False)


def test_what_the_bank_gets_back_is_what_was_refunded() -> None:
    funded, refunded = Move(FUNDED, 100), Move(GIVEN_BACK, 40)
    returned = Move("return_initiated", -40)
    assert free([funded, refunded, returned]) == 100
    assert free([funded, refunded, returned, Move("return_canceled", 40)]) == 100
    assert free([funded, Move("funding_reversed", -100), refunded]) == 0


def test_who_left_it_there() -> None:
    """A transfer that was paid too much or canceled; nobody, when money came since."""
    funded = Move(FUNDED, 100)
    applied = Move("applied_to_payment", -60, "pi_1")
    swept = Move("applied_to_payment", -10, "pi_sweep")
    assert left_by([applied, funded], set()) == "pi_1"
    assert left_by([Move(GIVEN_BACK, 5), swept, applied, funded], {"pi_sweep"}) == "pi_1"
    assert left_by([Move(UNAPPLIED, 60, "pi_1"), applied, funded], set()) == "pi_1"
    assert left_by([funded, applied, funded], set()) is None
    assert left_by([], set()) is None
