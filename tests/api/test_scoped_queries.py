"""Every query of the API names the tenant, or stands here with the reason why it need not.

Read as text: a query that is added without either fails here, whatever the data of a test may hide.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from models.storage import tables

API = Path(__file__).parents[2] / "api"
TENANT_TABLES = {
    name for name in tables.__all__ if hasattr(getattr(tables, name), "application_id")
}
QUERIES = {"select", "get", "update", "delete"}
NAMES_THE_TENANT = ("scoped(", "application_id")

# They serve no request: what they read is shown to nobody.
SERVE_NO_REQUEST = {
    "delivery.py": "brings providers' events to workflows",
    "ledger_metrics.py": "counts over the whole installation",
    "retention.py": "drops what is too old, whose ever it is",
    "starter.py": "starts what was accepted, whose ever it is",
}
BY_AN_ID_THAT_IS_OURS = {
    "idempotency.py:_take": "its condition `_is_ours` names the application",
    "idempotency.py:_store": "its condition `_is_ours` names the application",
    "key_uses.py:note": "the key that the request was authenticated with",
    "outbound/queue.py:_first_of": "serves no request: what the courier has claimed",
    "outbound/queue.py:_has_more": "serves no request: the lane that the courier has claimed",
    "outbound/queue.py:drop": "of an endpoint that was read for the tenant",
    "outbound/queue.py:lock": "serves no request: the delivery that the courier has claimed",
    "outbound/queue.py:start_anew": "of an endpoint that was read for the tenant",
    "opening.py:prepare_opening": "the id comes from the application's own idempotency key",
    "refunding.py:_disputed": "of payments that were read for the tenant",
    "refunding.py:_needed": "the attempt of a payment that was read for the tenant",
    "refunding.py:_reserved_before": "the id comes from the application's own idempotency key",
}


def queries_without_a_tenant() -> Iterator[str]:
    for path in sorted(API.rglob("*.py")):
        source = path.read_text()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_source_segment(source, node) or ""
                named = any(word in text for word in NAMES_THE_TENANT)
                if not named and any(map(_is_tenant_query, ast.walk(node))):
                    yield f"{path.relative_to(API)}:{node.name}"


def _is_tenant_query(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    inside = {found.id for found in ast.walk(node) if isinstance(found, ast.Name)}
    return name in QUERIES and bool(inside & TENANT_TABLES)


def test_every_query_names_the_tenant_or_says_why_not() -> None:
    found = {
        where for where in queries_without_a_tenant() if where.split(":")[0] not in SERVE_NO_REQUEST
    }
    assert found == set(BY_AN_ID_THAT_IS_OURS)


def test_no_exemption_is_left_over() -> None:
    assert all((API / name).exists() for name in SERVE_NO_REQUEST)
