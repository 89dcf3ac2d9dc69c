"""Structured logs, without secrets: the last step before a line is written removes them.

Everything goes through it: our own structlog calls and the standard library's (Temporal, uvicorn,
SQLAlchemy).
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

REDACTED = "[redacted]"
_DEPTH_MAX = 8

# A name is a secret's when one of its words is. `card` covers card numbers and whole card objects;
# `payment_method_type: card` is a value and stays.
_SECRET_NAME = re.compile(
    r"(?:^|[_\-.])(?:authorization|cookie|pass(?:word|wd|phrase)?|pepper|secrets?|tokens?|api[_-]?keys?"
    r"|private[_-]?key|credentials?|card|card[_-]?number|pan|cvc|cvv|signature)(?:$|[_\-.])",
    re.IGNORECASE,
)
_SECRET_VALUES = (
    # Stripe keys, webhook and client secrets; Conekta, Polar and our own keys.
    re.compile(r"\b(?:sk|rk|pk)_(?:test|live)_\w+"),
    re.compile(r"\b(?:whsec|polar_(?:oat|pat|rat|whs)|abk)_[\w+/=]+"),
    re.compile(r"\b(?:pi|seti|cs)_\w+_secret_\w+"),
    re.compile(r"\bkey_[A-Za-z0-9]{12,}"),
    # What a browser's library made of a card, also where it is part of an address.
    re.compile(r"\b(?:pm|tok)_\w+"),
    re.compile(r"\b(?:Bearer|Basic)\s+[\w\-.~+/]+=*", re.IGNORECASE),
    re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL
    ),
    # The password of a URL.
    re.compile(r"(?<=://)([^\s/@:]*):[^\s/@]+(?=@)"),
)
# With whatever people and programs put between the groups of one.
_CARD_NUMBER = re.compile(r"(?<![\w.\-])\d(?:[\s.\-‐-―_/]?\d){12,18}(?![\w])")


def configure_logging(level: str, *, json: bool, traced: bool = False) -> None:
    """Send everything at `level` or above to stderr, as JSON lines or for a person to read. `traced`: with
    the id of the trace that it belongs to."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        *([_trace_adder()] if traced else []),
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        # To text before the redaction, so that stack traces are covered too.
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer(default=str)
        if json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                redact_event,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # They would write the address of every call to a provider, and in some a card's token is a part.
    for caller in ("httpx", "stripe"):
        logging.getLogger(caller).setLevel(logging.WARNING)


def _trace_adder() -> structlog.types.Processor:
    from opentelemetry import trace

    def add(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Any:
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            event["trace_id"] = trace.format_trace_id(span.trace_id)
        return event

    return add


def redact_event(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A structlog processor: the event without secrets."""
    redacted: MutableMapping[str, Any] = redact(event)
    redacted.pop("color_message", None)  # uvicorn's second copy of its message, for terminals.
    return redacted


def redact(value: Any, depth: int = 0) -> Any:
    """`value` with every secret in it replaced; mappings, lists and tuples are copied."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, bytes):
        return redact_text(value.decode(errors="replace"))
    if isinstance(value, int) and not isinstance(value, bool):
        return REDACTED if _is_card_number(str(value)) else value
    if value is None or isinstance(value, bool | float):
        return value
    if depth >= _DEPTH_MAX:
        return "[too deep]"
    if isinstance(value, Mapping):
        return {name: _redact_item(name, item, depth) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item, depth + 1) for item in value]
    return redact_text(str(value))


def redact_text(text: str) -> str:
    """Secrets are recognised by how they look: key prefixes, bearer tokens, card numbers."""
    for pattern in _SECRET_VALUES[:-1]:
        text = pattern.sub(REDACTED, text)
    text = _SECRET_VALUES[-1].sub(rf"\1:{REDACTED}", text)
    return _CARD_NUMBER.sub(_redact_card, text)


def _redact_item(name: Any, item: Any, depth: int) -> Any:
    if isinstance(name, str) and _SECRET_NAME.search(name) and item is not None:
        return REDACTED
    return redact(item, depth + 1)


def _redact_card(match: re.Match[str]) -> str:
    return REDACTED if _is_card_number(match.group()) else match.group()


def _is_card_number(text: str) -> bool:
    """13 to 19 digits that pass the Luhn check (ISO/IEC 7812)."""
    digits = [int(character) for character in text if character.isdigit()]
    if not 13 <= len(digits) <= 19:
        return False
    doubled = [digit * 2 for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(d - 9 if d > 9 else d for d in doubled)) % 10 == 0
