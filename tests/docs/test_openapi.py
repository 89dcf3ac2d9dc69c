"""Holds the description of the API to the code, and to being whole.

Goal: nobody has to guess a body, a problem or a scope. Method: the document is made anew and compared with
the one that is checked in; everything else is asked of the document, its examples by a JSON Schema validator.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import jsonschema_rs
import pytest
from pydantic import TypeAdapter, ValidationError

from abono.dev.documents import OPENAPI_PAGE, openapi_text
from api.auth import Scope
from api.error_catalog import error_codes, problem_type
from api.operator_schemas import Reason

# Of the framework: no operation has them, since it is the address that is wrong.
OF_NO_OPERATION = {"method_not_allowed"}
DOCUMENT = json.loads(OPENAPI_PAGE.read_text())
OPERATIONS = {
    operation["operationId"]: operation
    for operations in DOCUMENT["paths"].values()
    for operation in operations.values()
}


def test_the_document_is_what_the_code_says() -> None:
    assert OPENAPI_PAGE.read_text() == openapi_text(), (
        "docs/openapi.json is not what the code says any more: run `make docs` and commit what it writes"
    )


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_described(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["summary"]
    assert len(operation["description"].split("\n\nNeeds a key")[0]) > 10, "it has no docstring"
    assert len(operation["tags"]) == 1
    for security in operation.get("security", []):
        [scope] = security["ApiKey"]
        assert f"`{scope}`" in operation["description"]
        assert scope in set(Scope)
    assert any(int(status) < 300 for status in operation["responses"])


def bodies(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for holder in (operation.get("requestBody", {}), *operation["responses"].values()):
        yield from holder.get("content", {}).values()


def resolved(example: dict[str, Any]) -> Any:
    name = example["$ref"].removeprefix("#/components/examples/")
    return DOCUMENT["components"]["examples"][name]["value"]


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_body_has_an_example_that_is_one(name: str) -> None:
    for body in bodies(OPERATIONS[name]):
        schema = {**body["schema"], "components": DOCUMENT["components"]}
        validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
        given = [body["example"]] if "example" in body else []
        examples = [*given, *(resolved(one) for one in body.get("examples", {}).values())]
        assert examples, "a body without an example"
        for example in examples:
            validator.validate(example)


def test_every_code_is_in_the_document_and_on_the_errors_page() -> None:
    answered = {
        (int(status), code)
        for operation in OPERATIONS.values()
        for status, answer in operation["responses"].items()
        for code in answer.get("content", {})
        .get("application/problem+json", {})
        .get("examples", {})
    }
    listed = {
        (status, code)
        for code, known in error_codes().items()
        for status in known.statuses
        if code not in OF_NO_OPERATION
    }
    assert answered == listed


def test_problem_examples_have_the_address_of_their_code() -> None:
    for example in DOCUMENT["components"]["examples"].values():
        assert example["value"]["type"] == problem_type(example["value"]["code"])
        assert example["value"]["code"] in error_codes()
        assert example["summary"], "what to do about it"


def test_names_that_have_a_pattern_are_the_only_ones() -> None:
    """By JSON Schema a name beside the pattern could hold anything, and the code takes none."""
    open_ones = [part for part in _parts(DOCUMENT) if "patternProperties" in part]
    assert open_ones
    assert all(part["additionalProperties"] is False for part in open_ones)


def test_blanks_alone_are_refused_by_the_description_of_a_reference_too() -> None:
    schema = DOCUMENT["components"]["schemas"]["MarkPaidRequest"]["properties"]["reference"]
    assert not jsonschema_rs.is_valid(schema, " \f")
    assert jsonschema_rs.is_valid(schema, " x")


@pytest.mark.parametrize("text", ["abc", "a c", "  abc ", " ab", "a  ", "   ", "a\nc"])
def test_a_reason_of_blanks_is_refused_by_the_description_too(text: str) -> None:
    reason = TypeAdapter(Reason)
    described = jsonschema_rs.is_valid(reason.json_schema(), text)
    assert described == (len(text.strip()) >= 3)
    with nullcontext() if described else pytest.raises(ValidationError):
        reason.validate_python(text)


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _parts(inner)
