"""What is on the screen: nothing cut off, nothing of others interpreted, wrong books in red."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from abono.demo.checks import StepFailed, balance
from abono.demo.telling import Telling
from abono.demo.wording import (
    MEXICO_CITY,
    barcode,
    in_groups,
    in_words,
    local_day,
    local_time,
)
from abono_client.models import PayVoucher, Voucher
from tests.demo.books import good_account

LONG_LINK = "http://127.0.0.1:8233/namespaces/default/workflows/subscription%2F" + "0" * 36


class Screen:
    def __init__(self, width: int = 100) -> None:
        self._file = io.StringIO()
        self.telling = Telling(Console(file=self._file, width=width, highlight=False))

    @property
    def text(self) -> str:
        return self._file.getvalue()


def voucher() -> PayVoucher:
    slip = Voucher(
        network="oxxo",
        reference="93000262276908",
        barcode_url="https://barcodes.conekta.com/93000262276908.png",
    )
    return PayVoucher(
        vouchers=[slip],
        amount_minor=19_900,
        currency="MXN",
        expires_at=datetime(2026, 11, 26, 5, 59, 59, tzinfo=UTC),
    )


def test_the_slip_is_in_spanish_and_on_mexican_clocks() -> None:
    screen = Screen()
    screen.telling.slip("Beatriz Luna", voucher())
    assert "Beatriz Luna" in screen.text
    assert "9300 0262 2769 08" in screen.text
    assert "$199.00 MXN" in screen.text
    assert "https://barcodes.conekta.com/93000262276908.png" in screen.text
    assert "mié 25 nov 2026, 23:59 h, Ciudad de México" in screen.text
    assert "Wed 25 Nov 2026, 23:59, Mexico City" in screen.text
    assert "paga en efectivo" in screen.text


def test_the_slip_fits_a_usual_terminal() -> None:
    screen = Screen(width=80)
    screen.telling.slip("Beatriz Luna", voucher())
    assert max(len(line) for line in screen.text.splitlines()) <= 80
    assert "https://barcodes.conekta.com/93000262276908.png" in screen.text


def test_books_that_agree() -> None:
    screen = Screen(width=80)
    screen.telling.books(balance([good_account()]))
    assert "Carlos" in screen.text
    assert "OXXO, Conekta" in screen.text
    assert "199.00 MXN charged; the invoices say the same, to the centavo." in screen.text
    assert "✗" not in screen.text


def test_a_wrong_book_is_marked_and_explained() -> None:
    screen = Screen()
    good, wrong = balance([good_account(), good_account(movements=[])])
    screen.telling.books([good, wrong])
    assert screen.text.count("✓") == 1
    assert screen.text.count("✗") == 1 + len(wrong.complaints)
    assert "Carlos: the providers took 0.00 MXN, the invoices say 199.00 MXN" in screen.text
    assert "to the centavo" not in screen.text


def test_a_failure_says_where_to_look() -> None:
    screen = Screen(width=40)
    screen.telling.failure(StepFailed("a voucher", "[bold]none[/] at [conekta]", [LONG_LINK]))
    assert "a voucher" in screen.text
    assert "[bold]none[/] at [conekta]" in screen.text
    assert LONG_LINK in screen.text


def test_links_stay_whole_in_a_narrow_terminal() -> None:
    screen = Screen(width=30)
    screen.telling.link(LONG_LINK)
    screen.telling.links([("Abby", LONG_LINK)])
    assert screen.text.count(LONG_LINK) == 2


def test_the_timeline_names_who_did_what() -> None:
    screen = Screen(width=60)
    screen.telling.say("Abby", "subscribes, " + "and again " * 12)
    first, second, *_ = screen.text.splitlines()
    assert first.split()[1] == "Abby"
    assert len(second) - len(second.lstrip()) == first.index("subscribes")


@pytest.mark.parametrize(
    ("time_zone", "shown"),
    [(MEXICO_CITY, "Thu 31 Dec 2026, 23:30"), ("Asia/Tokyo", "Fri 1 Jan 2027, 14:30")],
)
def test_times_are_local(time_zone: str, shown: str) -> None:
    moment = datetime(2027, 1, 1, 5, 30, tzinfo=UTC)
    assert local_time(moment, time_zone) == shown
    assert local_day(moment, time_zone) == shown.split(",")[0]


def test_references_are_read_out_in_groups() -> None:
    assert in_groups("93000262276908") == "9300 0262 2769 08"
    assert len(barcode("93000262276908")) == 3 * 14
    assert barcode("1") != barcode("2")


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["Ines"], "Ines"),
        (["Ines", "Luis"], "Ines and Luis"),
        (["Ines", "Jorge", "Luis"], "Ines, Jorge and Luis"),
    ],
)
def test_names_are_listed_as_people_do(names: list[str], text: str) -> None:
    assert in_words(names) == text
