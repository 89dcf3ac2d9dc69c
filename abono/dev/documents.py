"""Writes what the documents say of the code into them: `make docs`.

A generated part stands between two markers, `<!-- make docs: name -->` and `<!-- end: name -->`; everything
around it is written by people and left alone. A test fails when a part is not what the code says.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from models.outcomes import Instrument, ProviderName
from providers.conekta.capabilities import CAPABILITIES as CONEKTA
from providers.polar.capabilities import CAPABILITIES as POLAR
from providers.protocol import Capabilities, Capability
from providers.registry import CAPABILITY_BY_INSTRUMENT, CAPABILITY_FOR_PURCHASE
from providers.stripe.capabilities import CAPABILITIES as STRIPE

PROVIDERS_PAGE = Path(__file__).parents[2] / "docs" / "providers.md"

_ROWS: dict[ProviderName, Capabilities] = {
    ProviderName.STRIPE: STRIPE,
    ProviderName.CONEKTA: CONEKTA,
    ProviderName.POLAR: POLAR,
}
_EVERY_CURRENCY = "every currency that the account is enabled for"


def rendered(text: str) -> str:
    """The document with each generated part as the code says it. Raises ValueError for a part that is
    not there, or that nobody makes."""
    names = re.findall(r"<!-- make docs: (\w+) -->", text)
    if sorted(names) != sorted(_PARTS):
        raise ValueError(f"the document has the parts {names}, and not {sorted(_PARTS)} once each")
    for name, make in _PARTS.items():
        begin, end = f"<!-- make docs: {name} -->", f"<!-- end: {name} -->"
        before, _, rest = text.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"the part {name} has no end: {end}")
        text = f"{before}{begin}\n{make()}\n{end}{after}"
    return text


def capability_table() -> str:
    """What each provider can do, and why not where it cannot."""
    rows = [["capability", *(name.capitalize() for name in _ROWS)]]
    for capability in Capability:
        cells = [_ability(capabilities, capability) for capabilities in _ROWS.values()]
        rows.append([f"`{capability}`", *cells])
    return _table(rows)


def collection_table() -> str:
    """What each provider can collect, as the routing rules are told."""
    rows = [["provider", "subscriptions by", "purchases by", "currencies"]]
    for name, capabilities in _ROWS.items():
        currencies = capabilities.currencies
        rows.append(
            [
                name.capitalize(),
                _instruments(CAPABILITY_BY_INSTRUMENT, capabilities),
                _instruments(CAPABILITY_FOR_PURCHASE, capabilities),
                _EVERY_CURRENCY if currencies is None else ", ".join(sorted(currencies)),
            ]
        )
    return _table(rows)


def main() -> None:
    before = PROVIDERS_PAGE.read_text()
    after = rendered(before)
    PROVIDERS_PAGE.write_text(after)
    said = "was as the code says" if after == before else "is written anew"
    sys.stdout.write(f"docs/{PROVIDERS_PAGE.name} {said}.\n")


_PARTS: dict[str, Callable[[], str]] = {
    "capabilities": capability_table,
    "collection": collection_table,
}


def _ability(capabilities: Capabilities, capability: Capability) -> str:
    if capability not in capabilities.supports:
        return f"no: {capabilities.refusals[capability]}"
    note = capabilities.notes.get(capability)
    return "**yes**" if note is None else f"**yes**; {note}"


def _instruments(needed: Mapping[Instrument, Capability], capabilities: Capabilities) -> str:
    found = [f"`{i}`" for i, capability in needed.items() if capability in capabilities.supports]
    return ", ".join(found) or "nothing"


def _table(rows: list[list[str]]) -> str:
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|---" * len(rows[0]) + "|", *body])


if __name__ == "__main__":
    main()
