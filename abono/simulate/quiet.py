"""Faults are meant to happen in a simulation: what the SDK says of them is not news."""

from __future__ import annotations

import logging

from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter


def quieten_sdk() -> None:
    """For the whole process, and before its first client."""
    logging.getLogger("temporalio").setLevel(logging.CRITICAL)
    only_errors = TelemetryFilter(core_level="ERROR", other_level="ERROR")
    telemetry = TelemetryConfig(logging=LoggingConfig(filter=only_errors))
    Runtime.set_default(Runtime(telemetry=telemetry), error_if_already_set=False)
