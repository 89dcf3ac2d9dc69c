"""The description of the API, finished: what FastAPI cannot know is added from where it stands already.

Each operation says the scope that it needs, every problem that it can answer with (by code, from the errors
page) and an example of each body. A model's own example comes first; without one it is put together from
`FIELD_EXAMPLES`, and a field without any is an error, so that the document cannot become incomplete.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import BaseRoute

from api.auth import Requirement
from api.error_catalog import error_codes, problem_type
from api.field_examples import FIELD_EXAMPLES
from api.openapi import CODES
from api.problems import PROBLEM_MEDIA_TYPE
from api.responses import Problem
from models.errors import AbonoError

Document = dict[str, Any]

JSON_MEDIA_TYPE = "application/json"
_REFERENCE = "#/components/schemas/"
_SECURITY_SCHEME = "ApiKey"
# What any request may be answered with, before its route is asked.
_FOR_EVERYONE = (
    "host_not_allowed",
    "payload_too_large",
    "uri_too_long",
    "invalid_request",
    "headers_too_large",
    "internal_error",
)
_FOR_KEYS = (
    "unauthenticated",
    "unsupported_media_type",
    "rate_limited",
    "card_number_refused",
    "unavailable",
)
_FOR_IDEMPOTENCY_KEYS = ("idempotency_key_in_use", "idempotency_key_reused")


def finished(document: Document, routes: Sequence[BaseRoute]) -> Document:
    """`document` with all that belongs to each operation. Raises ValueError for what lacks an example."""
    schemas = document["components"]["schemas"]
    # FastAPI's own shape of a validation error is never sent.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    document["components"]["examples"] = dict(_problem_examples())
    schemas["Problem"] = Problem.model_json_schema(ref_template=_REFERENCE + "{model}")
    _close(schemas)
    for schema in schemas.values():
        if "examples" in schema:
            schema["examples"] = [_whole(each, schema, schemas) for each in schema["examples"]]
    scopes = dict(_scopes(routes))
    for operations in document["paths"].values():
        for operation in operations.values():
            _finish(operation, scopes.get(operation["operationId"], []), schemas)
    return document


def _close(part: Any) -> None:
    """Where names have a pattern, no other name is allowed: Pydantic says the pattern alone, and by JSON
    Schema a name that does not match it could then hold anything."""
    inner: list[Any] = []
    if isinstance(part, dict):
        if "patternProperties" in part:
            part.setdefault("additionalProperties", False)
        inner = list(part.values())
    elif isinstance(part, list):
        inner = part
    for each in inner:
        _close(each)


def _scopes(routes: Sequence[BaseRoute]) -> Iterator[tuple[str, list[str]]]:
    """Of each operation the scopes that its key needs."""
    for context in iter_route_contexts(routes):
        route = context.original_route
        if isinstance(route, APIRoute):
            needs = _requirements(route.dependant)
            yield route.name, sorted({need.scope.value for need in needs})


def _requirements(dependant: Dependant) -> Iterator[Requirement]:
    if isinstance(dependant.call, Requirement):
        yield dependant.call
    for inner in dependant.dependencies:
        yield from _requirements(inner)


def _finish(operation: Document, scopes: list[str], schemas: Document) -> None:
    if "security" in operation:
        operation["security"] = [{_SECURITY_SCHEME: scopes}]
    if scopes:
        needs = " and ".join(f"`{scope}`" for scope in scopes)
        said = operation.get("description", "").strip()
        operation["description"] = f"{said}\n\nNeeds a key with the scope {needs}.".strip()
    for parameter in operation.get("parameters", ()):
        parameter["schema"] = _without_null(parameter["schema"])
    _finish_responses(operation)
    bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
    for body in bodies:
        content = body.get("content", {}).get(JSON_MEDIA_TYPE)
        if content is not None and "example" not in content:
            content["example"] = example_of(content["schema"], schemas)


def _without_null(schema: Document) -> Document:
    """What is left out of a query or of the headers is not sent as null: there is no such text."""
    kinds = schema.get("anyOf", [])
    if {"type": "null"} not in kinds:
        return schema
    left = [kind for kind in kinds if kind != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    return {**left[0], **rest} if len(left) == 1 else {"anyOf": left, **rest}


def _finish_responses(operation: Document) -> None:
    responses = operation["responses"]
    # FastAPI's own 422, where a route says nothing of one: what it describes is never sent.
    if CODES not in responses.get("422", {CODES: []}):
        del responses["422"]
    codes = {status: answer.pop(CODES, None) for status, answer in responses.items()}
    for code in _general_codes(operation):
        for status in error_codes()[code].statuses:
            known = codes.setdefault(str(status), [])
            # A status without codes of ours is described in its route: an answer that is no problem.
            if known is not None and code not in known:
                known.append(code)
    for status, found in codes.items():
        if found is not None:
            responses[status] = _problem_answer(int(status), found)
    operation["responses"] = dict(sorted(responses.items()))


def _general_codes(operation: Document) -> Iterator[str]:
    yield from _FOR_EVERYONE
    if "security" in operation:
        yield from _FOR_KEYS
    names = {parameter["name"] for parameter in operation.get("parameters", ())}
    if "Idempotency-Key" in names:
        yield from _FOR_IDEMPOTENCY_KEYS
    if "cursor" in names:
        yield "cursor_invalid"


def _problem_answer(status: int, codes: list[str]) -> Document:
    meanings = [f"- `{code}`: {error_codes()[code].cause}" for code in codes]
    examples = {
        code: {"$ref": f"#/components/examples/{_example_name(status, code)}"} for code in codes
    }
    content = {"schema": {"$ref": f"{_REFERENCE}Problem"}, "examples": examples}
    return {
        "description": "\n".join([f"{HTTPStatus(status).phrase}:", "", *meanings]),
        "content": {PROBLEM_MEDIA_TYPE: content},
    }


def _example_name(status: int, code: str) -> str:
    return code if len(error_codes()[code].statuses) == 1 else f"{code}_{status}"


def _problem_examples() -> Iterator[tuple[str, Document]]:
    for code, known in error_codes().items():
        for status in known.statuses:
            example = {
                "type": problem_type(code),
                "title": _TITLES.get(status, HTTPStatus(status).phrase),
                "status": status,
                "detail": f"{known.cause[:1].upper()}{known.cause[1:]}.",
                "code": code,
            }
            yield _example_name(status, code), {"summary": known.cure, "value": example}


def _classes(of: type[AbonoError]) -> Iterator[type[AbonoError]]:
    for each in of.__subclasses__():
        yield each
        yield from _classes(each)


# Where several classes share a status, they share its title too.
_CLASSES: list[type[AbonoError]] = [AbonoError, *_classes(AbonoError)]
_TITLES = {each.status: each.title for each in reversed(_CLASSES)}


def _whole(example: Any, schema: Document, schemas: Document) -> Any:
    """`example` with the nulls that FastAPI leaves out of it, in the order of the model."""
    schema = schemas[schema["$ref"].removeprefix(_REFERENCE)] if "$ref" in schema else schema
    if isinstance(example, list) and "items" in schema:
        return [_whole(each, schema["items"], schemas) for each in example]
    for kind in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        if isinstance(example, dict) and "$ref" in kind:
            meant = schemas[kind["$ref"].removeprefix(_REFERENCE)]
            if example.get("type") in {None, meant["properties"].get("type", {}).get("const")}:
                return _whole(example, meant, schemas)
    if not isinstance(example, dict) or "properties" not in schema:
        return example
    required = schema.get("required", ())
    return {
        name: _whole(example.get(name), inner, schemas)
        for name, inner in schema["properties"].items()
        if name in example or name in required
    }


def example_of(schema: Document, schemas: Document, name: str = "") -> Any:
    """One value that the schema allows. `name` is `Model.field`, for `FIELD_EXAMPLES`."""
    if "$ref" in schema:
        return example_of(schemas[schema["$ref"].removeprefix(_REFERENCE)], schemas, name)
    for keyword in ("examples", "enum"):
        if schema.get(keyword):
            return schema[keyword][0]
    if "const" in schema:
        return schema["const"]
    field = name.rpartition(".")[2]
    for known in (name, field):
        if known in FIELD_EXAMPLES:
            return FIELD_EXAMPLES[known]
    for keyword in ("anyOf", "oneOf", "allOf"):
        if schema.get(keyword):
            return example_of(schema[keyword][0], schemas, name)
    return _example_by_type(schema, schemas, name)


def _example_by_type(schema: Document, schemas: Document, name: str) -> Any:
    match schema.get("type"):
        case "object" if "properties" in schema:
            return {
                field: example_of(inner, schemas, f"{schema['title']}.{field}")
                for field, inner in schema["properties"].items()
            }
        case "array":
            return [example_of(schema["items"], schemas, name)]
        case "boolean":
            return schema.get("default", False)
        case "null":
            return None
        case "string" if schema.get("format") in FIELD_EXAMPLES:
            return FIELD_EXAMPLES[schema["format"]]
        case _:
            raise ValueError(
                f"The field {name!r} has no example: give its model one, or add the field to "
                "FIELD_EXAMPLES in api/field_examples.py."
            )
