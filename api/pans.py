"""Refuses card numbers, wherever they stand in a request: Abono takes tokens and nothing else.

What was found is never repeated, logged or stored. A string counts as a card number when it has 13 to
19 digits (spaces, dashes and dots between them do not matter), starts with a digit that card schemes
use, and passes the Luhn check.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from models.errors import InvalidRequest

_DIGITS_MIN, _DIGITS_MAX = 13, 19
# E.164 telephone numbers have at most 15 digits and start with a plus; one in ten passes Luhn by chance.
_TELEPHONE = re.compile(r"\+\d(?:[ .\-()]{0,2}\d){5,14}(?!\d)")
_UUID = re.compile(
    r"(?<![0-9a-fA-F])[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}(?![0-9a-fA-F])"
)
_RUN = re.compile(r"\d(?:[\s.\-‐-―_/]{0,2}\d)+")
_DIGITS = re.compile(r"\d+")
# How cards are printed: a number in one of these groupings is found inside a longer run of digits too.
_PRINTED = ([4, 4, 4, 4], [4, 6, 5], [4, 6, 4], [4, 4, 5], [4, 4, 4, 4, 3], [6, 13])
# 1 is UATP (airline accounts, not accepted by any of our providers), 0 is ISO's own: leaving both out
# keeps millisecond timestamps from being refused one time in ten.
_FIRST_DIGITS = frozenset("23456789")


def refuse_card_numbers(value: Any) -> None:
    """Raises InvalidRequest (`card_number_refused`) when a card number is anywhere in `value`."""
    if any(contains_card_number(text) for text in _texts(value)):
        raise InvalidRequest(
            "The request holds what looks like a card number. Send a token made by the provider's"
            " browser library; nothing was stored.",
            code="card_number_refused",
        )


def contains_card_number(text: str) -> bool:
    if len(text) < _DIGITS_MIN:
        return False
    plain = unicodedata.normalize("NFKC", text)
    plain = _TELEPHONE.sub(" ; ", _UUID.sub(" ; ", plain))
    return any(
        _is_card_number(candidate)
        for run in _RUN.finditer(plain)
        for candidate in _candidates(_DIGITS.findall(run.group()))
    )


def _texts(value: Any) -> Iterator[str]:
    """Every string and number of a JSON document, keys too, without recursion: depth is the sender's."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending.extend(item.keys())
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, str):
            yield item
        elif isinstance(item, int | float) and not isinstance(item, bool):
            yield f"{item:.0f}" if isinstance(item, float) else str(item)


def _candidates(groups: list[str]) -> Iterator[str]:
    yield from groups
    if len(groups) == 1:
        return
    yield "".join(groups)
    lengths = [len(group) for group in groups]
    for printed in _PRINTED:
        for start in range(len(groups) - len(printed) + 1):
            if lengths[start : start + len(printed)] == printed:
                yield "".join(groups[start : start + len(printed)])


def _is_card_number(digits: str) -> bool:
    if not _DIGITS_MIN <= len(digits) <= _DIGITS_MAX or digits[0] not in _FIRST_DIGITS:
        return False
    return len(set(digits)) > 1 and passes_luhn(digits)


def passes_luhn(digits: str) -> bool:
    total = 0
    for index, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if index % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
