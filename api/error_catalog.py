"""Every code that a problem can have, with its cause and its cure: read from the errors page itself.

The page (`docs/api-errors.md`) is written by people and is the only place where a code is described. From
here it reaches the address in a problem's `type` and the OpenAPI document. A wheel carries a copy of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PAGE = "api-errors.md"
_PLACES = (Path(__file__).with_name(_PAGE), Path(__file__).parents[1] / "docs" / _PAGE)
_ROW = re.compile(
    r"^\| `(?P<code>\w+)` \| (?P<statuses>[\d, ]+) \| (?P<cause>.+) \| (?P<cure>.+) \|$"
)
ERRORS_PATH = "/errors"


@dataclass(frozen=True)
class ErrorCode:
    """`statuses`: the HTTP statuses that it comes with; `cause` and `cure` are for people."""

    code: str
    statuses: tuple[int, ...]
    cause: str
    cure: str


def problem_type(code: str) -> str:
    """What a problem says as its `type`: an address of this API that tells cause and cure. Relative,
    since the API does not know the name under which it is reached."""
    return f"{ERRORS_PATH}/{code}"


@cache
def error_codes() -> dict[str, ErrorCode]:
    """By code, in the order of the page."""
    page = next(place for place in _PLACES if place.exists()).read_text(encoding="utf-8")
    codes = page.split("\n## Codes\n", 1)[1].split("\n## ", 1)[0]
    return {found.code: found for line in codes.splitlines() if (found := _read(line)) is not None}


def _read(line: str) -> ErrorCode | None:
    row = _ROW.match(line)
    if row is None:
        return None
    statuses = tuple(int(status) for status in row["statuses"].split(","))
    return ErrorCode(row["code"], statuses, _plain(row["cause"]), _plain(row["cure"]))


def _plain(markdown: str) -> str:
    """Without links: `[Disputes](disputes.md)` leads nowhere from here."""
    return re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", markdown)
