"""What must hold: single expectations on the way, and the books at the end. Pure, so it is tested alone.

The books are three, kept by three parties: what the providers say they moved (the sandbox's control
plane), what our invoices say was paid, and our ledger of payments. They must agree to the centavo.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from abono.demo.views import Invoice, Movement
from models.money import Money

# How the sandbox calls money that has arrived, may still arrive, and will not arrive any more.
PAID = "paid"
OPEN = "pending"
DEAD = frozenset({"expired", "canceled", "declined"})
REFUNDED = "succeeded"
CAME_IN = frozenset({"capture", "refund_reversal"})


class StepFailed(Exception):
    """A step of the story did not hold. Each field is for a person; `where` says where to look."""

    def __init__(self, expected: str, got: str, where: Sequence[str] = ()) -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.expected = expected
        self.got = got
        self.where = tuple(where)


def expect(holds: bool, expected: str, got: object, where: Sequence[str] = ()) -> None:
    """Raises StepFailed when it does not hold."""
    if not holds:
        raise StepFailed(expected, str(got), where)


@dataclass(frozen=True)
class Promise:
    """What the story says must have become of one customer in the end."""

    customer: str
    pays_by: str
    status: str
    paid: Money


@dataclass(frozen=True)
class Account:
    """Everything that was found about one customer's subscription."""

    promise: Promise
    status: str
    movements: Sequence[Movement]
    invoices: Sequence[Invoice]


@dataclass(frozen=True)
class BookLine:
    """One line of the final table. Good without complaints.

    `charged` and `invoiced` have refunds taken off; `open` can still be paid; `dead` is what vouchers and
    tries asked for that can bring no money any more.
    """

    customer: str
    pays_by: str
    providers: str
    status: str
    charged: Money
    open: Money
    dead: Money
    invoiced: Money
    complaints: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.complaints


def balance(accounts: Iterable[Account]) -> list[BookLine]:
    """The books of all customers, each with what is wrong about it."""
    return [_line(account) for account in accounts]


def _line(account: Account) -> BookLine:
    promise, movements = account.promise, account.movements
    charges = [m for m in movements if m.kind == "charge"]

    def money(amount_minor: int) -> Money:
        return Money(amount_minor=amount_minor, currency=promise.paid.currency)

    line = BookLine(
        customer=promise.customer,
        pays_by=promise.pays_by,
        providers=", ".join(sorted({m.provider.capitalize() for m in movements})),
        status=account.status,
        charged=money(_moved(movements)),
        open=money(sum(m.amount_minor for m in charges if m.status == OPEN)),
        dead=money(sum(m.amount_minor for m in charges if m.status in DEAD)),
        invoiced=money(
            sum(i.amount_paid_minor - i.amount_refunded_minor for i in account.invoices)
        ),
    )
    line.complaints.extend(_complaints(account, line))
    return line


def _complaints(account: Account, line: BookLine) -> Iterable[str]:
    promise = account.promise
    currency = promise.paid.currency
    currencies = {m.currency for m in account.movements} | {i.currency for i in account.invoices}
    if currencies - {currency}:
        yield f"money in {', '.join(sorted(currencies))}, expected {currency} alone"
    if line.charged != line.invoiced:
        yield f"the providers took {line.charged}, the invoices say {line.invoiced}"
    if line.charged != promise.paid:
        yield f"{promise.paid} should have been charged, not {line.charged}"
    if line.open.amount_minor:
        yield f"{line.open} can still be paid, nothing should be"
    if account.status != promise.status:
        yield f"the subscription should be {promise.status}, it is {account.status}"
    yield from _invoice_complaints(account, currency)
    yield from _twice_in_the_book(account.movements)


def _invoice_complaints(account: Account, currency: str) -> Iterable[str]:
    for invoice in account.invoices:
        name = f"invoice {invoice.id}"
        kept = invoice.amount_paid_minor - invoice.amount_refunded_minor
        ledger = sum(
            p.amount_minor if p.kind in CAME_IN else -p.amount_minor for p in invoice.payments
        )
        if ledger != kept:
            found = f"its payments come to {_money(ledger, currency)}"
            yield f"{name} says {_money(kept, currency)}, {found}"
        if invoice.status == "paid" and invoice.amount_paid_minor != invoice.amount_minor:
            lacks = invoice.amount_minor - invoice.amount_paid_minor
            yield f"{name} is paid, but lacks {_money(lacks, currency)}"
        if invoice.status not in {"paid", "void", "refunded"}:
            yield f"{name} is still {invoice.status}"
        named = [m for m in account.movements if m.invoice_id == invoice.id]
        if named and _moved(named) != kept:
            seen = f"the providers took {_money(_moved(named), currency)} for it"
            yield f"{name} says {_money(kept, currency)}, {seen}"


def _twice_in_the_book(movements: Sequence[Movement]) -> Iterable[str]:
    counted = Counter((m.provider, m.kind, m.id) for m in movements)
    for (provider, kind, identifier), count in counted.items():
        if count > 1:
            yield f"{kind} {identifier} is {count} times in the book of {provider}"


def _moved(movements: Iterable[Movement]) -> int:
    """Minor units that came and stayed."""
    total = 0
    for movement in movements:
        if movement.kind == "charge" and movement.status == PAID:
            total += movement.amount_minor
        elif movement.kind == "refund" and movement.status == REFUNDED:
            total -= movement.amount_minor
    return total


def _money(amount_minor: int, currency: str) -> str:
    return str(Money(amount_minor=amount_minor, currency=currency))
