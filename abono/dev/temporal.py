"""The Temporal dev server (SQLite, one process) with its UI: development and tests, never production."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

from abono.dev.errors import DevError
from abono.dev.ports import LOCALHOST, spare_port
from abono.dev.process import Child

NAMESPACE = "default"
READY_SECONDS_MAX = 60.0

# The dev server polls its one history shard 20 times a second, so that every hop costs 50 ms, and
# lets timers be a second late. These values make it about six times quicker.
FAST_DYNAMIC_CONFIG: dict[str, str] = {
    "history.transferProcessorMaxPollRPS": "1000",
    "history.timerProcessorMaxPollRPS": "1000",
    "history.timerProcessorMaxTimeShift": '"10ms"',
    "history.continueAsNewMinInterval": '"0s"',
}


def binary() -> Path:
    """The `temporal` program: beside this Python, else on PATH."""
    beside = Path(sys.executable).with_name("temporal")
    if beside.exists():
        return beside
    found = shutil.which("temporal")
    if found is None:
        raise DevError("The `temporal` program is not installed.", "Run `make up`, or `uv sync`.")
    return Path(found)


def server_command(
    port: int,
    *,
    ui_port: int | None = None,
    database_file: Path | None = None,
    metrics_port: int | None = None,
    dynamic_config: Mapping[str, str] = FAST_DYNAMIC_CONFIG,
    log_level: str = "error",
) -> list[str]:
    """Without `database_file` it lives in memory, without `ui_port` it has no UI."""
    from abono import search_attributes

    command = [str(binary()), "server", "start-dev", "--ip", LOCALHOST, "--port", str(port)]
    command += ["--log-level", log_level]
    if ui_port is None:
        command += ["--headless"]
    else:
        command += ["--ui-port", str(ui_port), "--ui-ip", LOCALHOST, "--ui-disable-news-fetch"]
    if database_file is not None:
        command += ["--db-filename", str(database_file)]
    if metrics_port is not None:
        command += ["--metrics-port", str(metrics_port)]
    for name in search_attributes.TYPES:
        command += ["--search-attribute", f"{name}={search_attributes.kind(name)}"]
    for key, value in dynamic_config.items():
        command += ["--dynamic-config-value", f"{key}={value}"]
    return command


def make_child(command: list[str], log_file: Path) -> Child:
    # The person's own Temporal settings (an address, a profile) are meant for another server.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TEMPORAL_")}
    return Child(
        name="Temporal",
        command=command,
        log_file=log_file,
        environment=environment,
        stop_seconds=3.0,
    )


async def is_ready(address: str) -> bool:
    """Whether the dev server answers and knows its namespace and every search attribute."""
    from temporalio.client import Client

    from abono import search_attributes

    host, _, port = address.rpartition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()
        client = await Client.connect(address, namespace=NAMESPACE)
        return not await search_attributes.missing(client)
    except (OSError, RuntimeError):
        return False


@asynccontextmanager
async def running_temporal(
    log_file: Path,
    *,
    port: int | None = None,
    ui_port: int | None = None,
    database_file: Path | None = None,
    dynamic_config: Mapping[str, str] = FAST_DYNAMIC_CONFIG,
) -> AsyncIterator[str]:
    """For tests and tools: a server for the length of the block, as its address."""
    with nullcontext(port) if port else spare_port() as chosen_port:
        address = f"{LOCALHOST}:{chosen_port}"
        command = server_command(
            chosen_port, ui_port=ui_port, database_file=database_file, dynamic_config=dynamic_config
        )
        child = make_child(command, log_file)
        child.start()
        try:
            await child.wait_until(lambda: is_ready(address), READY_SECONDS_MAX)
            yield address
        finally:
            child.stop()
