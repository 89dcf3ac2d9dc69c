"""The books must be called wrong whenever one of them is."""

from __future__ import annotations

import pytest

from abono.demo.checks import Account, Promise, StepFailed, balance, expect
from models.money import Money
from tests.demo.books import PRICE, good_account, invoice, movement, payment


def complaints(account: Account) -> str:
    (line,) = balance([account])
    assert line.good == (not line.complaints)
    return "; ".join(line.complaints)


def test_books_that_agree() -> None:
    (line,) = balance([good_account()])
    assert line.good
    assert (line.charged, line.invoiced) == (PRICE, PRICE)
    assert line.dead == PRICE
    assert line.open.amount_minor == 0
    assert line.providers == "Conekta"


def test_nothing_charged_where_nothing_was_promised() -> None:
    free = Money(amount_minor=0, currency="MXN")
    canceled = good_account(
        promise=Promise("Diana", "oxxo", "canceled", free),
        status="canceled",
        movements=[movement(status="canceled")],
        invoices=[invoice(status="void", amount_paid_minor=0, payments=[])],
    )
    assert complaints(canceled) == ""


def test_a_refund_that_every_book_knows() -> None:
    nothing_left = Money(amount_minor=0, currency="MXN")
    given_back = payment(kind="refund")
    refunded = good_account(
        promise=Promise("Carlos", "oxxo", "active", nothing_left),
        movements=[movement(), movement(id="refund-1", kind="refund", status="succeeded")],
        invoices=[
            invoice(
                status="refunded",
                amount_refunded_minor=PRICE.amount_minor,
                payments=[payment(), given_back],
            )
        ],
    )
    assert complaints(refunded) == ""


TWO_CENTAVOS_LESS = PRICE.amount_minor - 2


@pytest.mark.parametrize(
    ("account", "complaint"),
    [
        pytest.param(
            good_account(movements=[movement(), movement(id="charge-2")]),
            "the providers took 398.00 MXN, the invoices say 199.00 MXN",
            id="charged twice",
        ),
        pytest.param(
            good_account(movements=[]),
            "the providers took 0.00 MXN, the invoices say 199.00 MXN",
            id="paid says the invoice, but nobody paid",
        ),
        pytest.param(
            good_account(movements=[movement(amount_minor=TWO_CENTAVOS_LESS)]),
            "the providers took 198.98 MXN",
            id="two centavos",
        ),
        pytest.param(
            good_account(
                movements=[movement(), movement(id="charge-2")],
                invoices=[invoice(), invoice(id="invoice-2")],
            ),
            "199.00 MXN should have been charged, not 398.00 MXN",
            id="both books agree on twice",
        ),
        pytest.param(
            good_account(movements=[movement(), movement(id="charge-2", status="pending")]),
            "199.00 MXN can still be paid",
            id="a second live voucher",
        ),
        pytest.param(
            good_account(movements=[movement(currency="USD")]),
            "money in MXN, USD",
            id="another currency",
        ),
        pytest.param(
            good_account(status="past_due"),
            "should be active, it is past_due",
            id="another status",
        ),
        pytest.param(
            good_account(invoices=[invoice(payments=[])]),
            "its payments come to 0.00 MXN",
            id="no payment in the ledger",
        ),
        pytest.param(
            good_account(invoices=[invoice(amount_minor=PRICE.amount_minor + 1)]),
            "is paid, but lacks 0.01 MXN",
            id="paid in part",
        ),
        pytest.param(
            good_account(invoices=[invoice(status="pending")]),
            "is still pending",
            id="an open invoice",
        ),
        pytest.param(
            good_account(movements=[movement(invoice_id="invoice-1"), movement()]),
            "charge charge-1 is 2 times in the book of conekta",
            id="one charge listed twice",
        ),
        pytest.param(
            good_account(
                movements=[movement(), movement(id="r", kind="refund", status="succeeded")]
            ),
            "the providers took 0.00 MXN, the invoices say 199.00 MXN",
            id="a refund that the invoice does not know",
        ),
        pytest.param(
            good_account(
                movements=[movement(invoice_id="invoice-2")],
                invoices=[
                    invoice(),
                    invoice(id="invoice-2", status="void", amount_paid_minor=0, payments=[]),
                ],
            ),
            "invoice invoice-2 says 0.00 MXN, the providers took 199.00 MXN for it",
            id="the money of one invoice on another",
        ),
    ],
)
def test_a_wrong_book(account: Account, complaint: str) -> None:
    assert complaint in complaints(account)


def test_an_expectation() -> None:
    expect(True, "anything", "it")
    with pytest.raises(StepFailed) as failed:
        expect(False, "a voucher", "none", ["here"])
    assert (failed.value.expected, failed.value.got) == ("a voucher", "none")
    assert failed.value.where == ("here",)
