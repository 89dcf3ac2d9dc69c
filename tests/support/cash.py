"""Which tests play which row of the table of cash and transfer rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from models.cash_rules import MoneyCase

Test = TypeVar("Test", bound=Callable[..., object])

PLAYED: dict[MoneyCase, list[str]] = {}


def plays(*cases: MoneyCase) -> Callable[[Test], Test]:
    """Marks a test that lets money come or go this way, against the simulators."""

    def mark(test: Test) -> Test:
        for case in cases:
            PLAYED.setdefault(case, []).append(test.__name__)
        return test

    return mark
