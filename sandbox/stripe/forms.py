"""Decodes the form bodies of Stripe's API: `items[0][price]=x` becomes `{"items": [{"price": "x"}]}`."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

from sandbox.stripe.refusals import Refusal

Params = dict[str, Any]

_KEY_PART = re.compile(r"\[([^\]]*)\]")


def decode(raw: str) -> Params:
    """Nested parameters from a form body or a query string. All leaves are strings, as on the wire."""
    tree: Params = {}
    for key, value in parse_qsl(raw, keep_blank_values=True):
        head, *rest = [key.split("[", 1)[0], *_KEY_PART.findall(key)]
        node = tree
        for part, following in zip([head, *rest], [*rest, None], strict=True):
            name = part if part != "" else str(len(node))
            if following is None:
                node[name] = value
            else:
                node = node.setdefault(name, {})
                if not isinstance(node, dict):
                    raise Refusal(400, f"Invalid parameter: {key}", param=key)
    return {name: _lists(value) for name, value in tree.items()}


def _lists(node: Any) -> Any:
    """Turn the maps whose keys are 0, 1, 2… into lists."""
    if not isinstance(node, dict):
        return node
    children = {name: _lists(value) for name, value in node.items()}
    if children and all(name.isdigit() for name in children):
        return [children[name] for name in sorted(children, key=int)]
    return children


def integer(params: Params, name: str, default: int | None = None) -> int:
    """An integer parameter; refuses the request when it is missing without default, or no integer."""
    value = params.get(name)
    if value is None or value == "":
        if default is None:
            raise Refusal(
                400, f"Missing required param: {name}.", param=name, code="parameter_missing"
            )
        return default
    try:
        return int(value)
    except (TypeError, ValueError):
        raise Refusal(
            400, f"Invalid integer: {value}", param=name, code="parameter_invalid_integer"
        ) from None


def boolean(params: Params, name: str, default: bool = False) -> bool:
    value = params.get(name)
    if value is None or value == "":
        return default
    if value not in {"true", "false"}:
        raise Refusal(400, f"Invalid boolean: {value}", param=name)
    return bool(value == "true")


def text(params: Params, name: str) -> str:
    """A parameter that must be there."""
    value = params.get(name)
    if not isinstance(value, str) or value == "":
        raise Refusal(400, f"Missing required param: {name}.", param=name, code="parameter_missing")
    return value


def optional_text(params: Params, name: str) -> str | None:
    value = params.get(name)
    return value if isinstance(value, str) and value != "" else None


def mapping(params: Params, name: str) -> Params:
    value = params.get(name)
    return value if isinstance(value, dict) else {}


def strings(params: Params, name: str) -> list[str]:
    value = params.get(name)
    return [str(item) for item in value] if isinstance(value, list) else []


def only(params: Params, *known: str) -> None:
    """Refuse parameters that the operation does not know, as Stripe does."""
    for name in params:
        if name not in known and name != "expand":
            raise Refusal(
                400, f"Received unknown parameter: {name}", param=name, code="parameter_unknown"
            )
