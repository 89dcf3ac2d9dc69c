"""Whose money lies in a customer's cash balance, told from the balance's own movements. Pure rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from typing import NamedTuple

FUNDED = "funded"
GIVEN_BACK = "refunded_from_payment"
UNAPPLIED = "unapplied_from_payment"
RETURNED, RETURN_CANCELED = "return_initiated", "return_canceled"


class Move(NamedTuple):
    """One movement, in Stripe's smallest unit; `intent_id` is the payment that took it or left it."""

    kind: str
    net: int
    intent_id: str | None = None


def free(oldest_first: Sequence[Move]) -> int:
    """How much of the balance came from the customer and pays nothing yet.

    Refunds lie in the same balance and are the customer's own: a payment is taken from them only when
    nothing else is there, and what is left of such a payment goes back to them.
    """
    unspent = given_back = 0
    out_of_given_back: Counter[str | None] = Counter()
    for move in oldest_first:
        if move.kind == GIVEN_BACK:
            given_back += move.net
        elif move.net >= 0:
            again = 0
            if move.kind in {UNAPPLIED, RETURN_CANCELED}:
                again = min(move.net, out_of_given_back[move.intent_id])
                out_of_given_back[move.intent_id] -= again
            given_back += again
            unspent += move.net - again
        else:
            spent = -move.net
            # What a person returns to the bank is what had been refunded.
            first = spent if move.kind == RETURNED else max(0, spent - max(0, unspent))
            taken = min(given_back, first)
            given_back -= taken
            out_of_given_back[move.intent_id] += taken
            unspent -= spent - taken
    return max(0, unspent)


def left_by(newest_first: Sequence[Move], sweeps: Set[str]) -> str | None:
    """The payment that left in the balance what is free there, being paid too much or canceled. None: the
    last money came when nothing waited for it."""
    for move in newest_first:
        if move.kind == FUNDED:
            return None
        if move.intent_id is not None and move.intent_id not in sweeps:
            return move.intent_id
    return None
