"""Writes what the documents say of the code into them: `make docs`.

A generated part stands between two markers, `<!-- make docs: name -->` and `<!-- end: name -->`; everything
around it is written by people and left alone. `openapi.json` is generated as a whole. A test fails when
something is not what the code says.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from abono.api_server import make_context
from abono.settings import Settings
from api.app import create_app
from models.cash_rules import CASH_RULES
from models.event_catalogue import CATALOGUE, EventType
from models.outbound import EVENTS_VERSION
from models.outcomes import Instrument, ProviderName
from providers.capabilities import Capabilities, Capability
from providers.conekta.capabilities import CAPABILITIES as CONEKTA
from providers.polar.capabilities import CAPABILITIES as POLAR
from providers.registry import CAPABILITY_BY_INSTRUMENT, CAPABILITY_FOR_PURCHASE
from providers.stripe.capabilities import CAPABILITIES as STRIPE

_DOCS = Path(__file__).parents[2] / "docs"
PROVIDERS_PAGE = _DOCS / "providers.md"
CLIENT = Path(__file__).parents[2] / "abono_client"
CLIENT_MODELS = CLIENT / "models.py"
BLOCKING_CLIENT = CLIENT / "client.py"
OPENAPI_PAGE = _DOCS / "openapi.json"
CASH_RULES_PAGE = _DOCS / "cash-rules.md"
EVENTS_PAGE = _DOCS / "events.md"

_ROWS: dict[ProviderName, Capabilities] = {
    ProviderName.STRIPE: STRIPE,
    ProviderName.CONEKTA: CONEKTA,
    ProviderName.POLAR: POLAR,
}
_EVERY_CURRENCY = "every currency that the account is enabled for"


def rendered(text: str, page: Path = PROVIDERS_PAGE) -> str:
    """The document with each generated part as the code says it. Raises ValueError for a part that is
    not there, or that nobody makes."""
    parts = _PARTS[page]
    names = re.findall(r"<!-- make docs: (\w+) -->", text)
    if sorted(names) != sorted(parts):
        raise ValueError(f"the document has the parts {names}, and not {sorted(parts)} once each")
    for name, make in parts.items():
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


def openapi_text() -> str:
    """The description of the API. Its application is made with the defaults, and asks nobody."""
    context = asyncio.run(make_context(Settings(DATABASE_URL="postgresql://nowhere/abono")))
    document = create_app(context).openapi()
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def client_models_text() -> str:
    """The types of the client, from the description. A client does not repeat the API's rules: it would
    refuse tomorrow what the API has learned to take. So the types alone are left of every schema."""
    # Only there for development.
    import datamodel_code_generator as generator
    from datamodel_code_generator.enums import DataModelType
    from datamodel_code_generator.format import Formatter

    document = json.loads(openapi_text())
    schemas = {name: _types_alone(s) for name, s in document["components"]["schemas"].items()}
    outline = {**document, "paths": {}, "components": {"schemas": schemas}}
    made = generator.generate(
        json.dumps(outline),
        input_file_type=generator.InputFileType.OpenAPI,
        output_model_type=DataModelType.PydanticV2BaseModel,
        target_python_version=generator.PythonVersion.PY_311,
        formatters=[Formatter.RUFF_FORMAT],
        enum_field_as_literal=generator.LiteralType.All,
        collapse_root_models=True,
        use_schema_description=True,
        use_union_operator=True,
        use_standard_collections=True,
        use_annotated=True,
        disable_timestamp=True,
        extra_fields="ignore",
        custom_file_header=_CLIENT_HEADER,
    )
    return str(made)


def _types_alone(schema: Any, inside: str = "") -> Any:
    if isinstance(schema, list):
        return [_types_alone(each, inside) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if inside == "properties":
        return {name: _types_alone(each) for name, each in schema.items()}
    kept = {name: each for name, each in schema.items() if name not in _RULES}
    if kept.get("format") not in {None, "uuid", "date-time"}:
        del kept["format"]
    return {name: _types_alone(each, name) for name, each in kept.items()}


_RULES = frozenset(
    {
        *("title", "examples", "pattern", "minLength", "maxLength", "minimum", "maximum"),
        *("exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems", "maxProperties"),
        *("minProperties", "propertyNames"),
    }
)
_CLIENT_HEADER = '"""What the API takes and answers: made from docs/openapi.json by `make docs`."""'


def blocking_client_text() -> str:
    """`abono_client/async_client.py` without its `async`."""
    import unasync  # Only there for development.

    names = {
        "AsyncAbonoClient": "AbonoClient",
        "AsyncClient": "Client",
        "AsyncBaseTransport": "BaseTransport",
        "aclose": "close",
        "asyncio": "time",
    }
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "async", Path(folder) / "sync"
        source.mkdir()
        copy = source / BLOCKING_CLIENT.name
        copy.write_text((CLIENT / "async_client.py").read_text())
        rule = unasync.Rule(f"{source}/", f"{made}/", additional_replacements=names)
        unasync.unasync_files([str(copy)], [rule])
        return _formatted((made / copy.name).read_text())


def _formatted(code: str) -> str:
    ruff = [
        str(Path(sys.executable).with_name("ruff")),
        "format",
        "--stdin-filename",
        "client.py",
        "-",
    ]
    done = subprocess.run(ruff, input=code, capture_output=True, text=True, check=True)
    return done.stdout


def main() -> None:
    for page in _PARTS:
        _write(page, rendered(page.read_text(), page))
    _write(OPENAPI_PAGE, openapi_text())
    _write(CLIENT_MODELS, client_models_text())
    _write(BLOCKING_CLIENT, blocking_client_text())


def _write(page: Path, text: str) -> None:
    before = page.read_text() if page.exists() else ""
    page.write_text(text)
    said = "was as the code says" if text == before else "is written anew"
    sys.stdout.write(f"{page.parent.name}/{page.name} {said}.\n")


def cash_rules_table() -> str:
    """Each way in which money by hand can arrive or go, and what follows."""
    rows = [["case", "what happened", "rule", "the plan may say", "record"]]
    for case, rule in CASH_RULES.items():
        setting = f"`{rule.setting}`" if rule.setting else ""
        rows.append([f"`{case}`", rule.what, f"**{rule.action}**", setting, rule.record])
    return _table(rows)


def event_catalogue() -> str:
    """Each event with what it is about, when it is told, its fields and an example of its data."""
    return "\n\n".join([f"Version {EVENTS_VERSION}.", *map(_event, CATALOGUE)])


def _event(one: EventType) -> str:
    fields = ", ".join(
        f"`{name}{'?' if name in one.optional else ''}{' | null' if name in one.nullable else ''}`"
        for name in one.example
    )
    data = json.dumps(one.example, indent=2)
    head = f"## {one.type}, of a {one.about}"
    return f"{head}\n\nTold when: {one.when}. Fields: {fields}.\n\n```json\n{data}\n```"


_PARTS: dict[Path, dict[str, Callable[[], str]]] = {
    PROVIDERS_PAGE: {"capabilities": capability_table, "collection": collection_table},
    CASH_RULES_PAGE: {"cash_rules": cash_rules_table},
    EVENTS_PAGE: {"events": event_catalogue},
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
