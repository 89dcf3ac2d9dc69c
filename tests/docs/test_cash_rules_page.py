"""The table of docs/cash-rules.md is the code's, and drift names the command to run."""

from __future__ import annotations

from abono.dev.documents import CASH_RULES_PAGE, rendered
from models.billing_policy import SpareMoneyAction
from models.cash_rules import MoneyCase

DRIFTED = "docs/cash-rules.md is not what the code says: run `make docs` and commit the file"


def test_the_page_is_what_the_code_says() -> None:
    text = CASH_RULES_PAGE.read_text()
    assert rendered(text, CASH_RULES_PAGE) == text, DRIFTED


def test_every_case_and_choice_is_in_it() -> None:
    text = CASH_RULES_PAGE.read_text()
    assert all(f"| `{case}` |" in text for case in MoneyCase), DRIFTED
    assert all(f"`{action}`" in text for action in SpareMoneyAction)
