"""What is told of each request to a provider: a log line and a span, neither with anything personal.

The operation is a name of ours, or a path without its ids; what was sent and answered is never told.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry import trace

from models.outcomes import ProviderName
from providers.failures import ProviderFailure

ANSWERED = "answered"
_log = logging.getLogger("abono.providers")
_tracer = trace.get_tracer("abono.providers")
# The words of a provider's addresses, as opposed to the ids between them.
_WORD = re.compile(r"v\d|[a-z]{2,24}(?:_[a-z]{2,24})*")


@dataclass
class Call:
    """One request; `result` is what will be told of it."""

    result: str = ANSWERED


@contextmanager
def provider_call(provider: ProviderName, operation: str) -> Iterator[Call]:
    """Around one request. Raises whatever the block raises."""
    call, started = Call(), time.monotonic()
    with _tracer.start_as_current_span(
        f"{provider} {operation}",
        kind=trace.SpanKind.CLIENT,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield call
        except BaseException as error:
            call.result = _result_of(error)
            span.set_status(trace.StatusCode.ERROR)
            raise
        finally:
            told = {"provider": str(provider), "operation": operation, "result": call.result}
            span.set_attributes({f"abono.{name}": value for name, value in told.items()})
            milliseconds = round((time.monotonic() - started) * 1000, 1)
            _log.info("provider call", extra={**told, "milliseconds": milliseconds})


def path_template(path: str) -> str:
    """`/v1/customers/cus_1abc/sources` as `/v1/customers/{id}/sources`."""
    return "/".join(
        part if not part or _WORD.fullmatch(part) else "{id}" for part in path.split("/")
    )


def _result_of(error: BaseException) -> str:
    return str(error.kind) if isinstance(error, ProviderFailure) else type(error).__name__
