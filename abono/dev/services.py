"""Our own processes: the sandbox, the worker and the API, each this program with another command."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from abono.dev.environment import Wiring
from abono.dev.info import worker_ready_file
from abono.dev.ports import LOCALHOST
from abono.dev.process import Child
from abono.settings import Settings

# The two keys in dev.json: what an application needs, and that plus administration.
KEY_SCOPES: dict[str, tuple[str, ...]] = {
    "api_key": ("billing:read", "billing:write", "webhooks:write"),
    "admin_api_key": (
        "billing:read",
        "billing:write",
        "plans:write",
        "webhooks:write",
        "operator",
        "admin",
    ),
}

_PROBE_SECONDS_MAX = 2.0


def sqlalchemy_url(database_url: str) -> str:
    return Settings(DATABASE_URL=database_url).sqlalchemy_url


@dataclass(frozen=True)
class Service:
    """`name` is the command (`abono NAME`) and the log's name; `port_name` None: it has no port."""

    name: str
    title: str
    port_name: str | None
    health_path: str | None
    stop_seconds: float
    ready_seconds: float = 60.0

    def detail(self, ports: Mapping[str, int]) -> str:
        return f"http://{LOCALHOST}:{ports[self.port_name]}" if self.port_name else ""

    def child(self, home: Path, environment: Mapping[str, str], wiring: Wiring) -> Child:
        ready_file = worker_ready_file(home)
        told = wiring.sandbox if self.name == "sandbox" else wiring.shared
        return Child(
            name=self.title,
            command=[*program(), self.name],
            log_file=home / "logs" / f"{self.name}.log",
            environment={**environment, **told, "PYTHONUNBUFFERED": "1"},
            stop_seconds=self.stop_seconds,
            before_start=self._forget_ready(ready_file),
        )

    def ready(self, home: Path, ports: Mapping[str, int]) -> Callable[[], Awaitable[bool]]:
        async def file_is_there() -> bool:
            return worker_ready_file(home).exists()

        async def answers() -> bool:
            return await _answers(ports[str(self.port_name)], str(self.health_path))

        return answers if self.health_path else file_is_there

    def _forget_ready(self, ready_file: Path) -> Callable[[], None]:
        def forget() -> None:
            if self.name == "worker":
                ready_file.unlink(missing_ok=True)

        return forget


SERVICES = (
    Service("sandbox", "Provider sandbox", "sandbox", "/_control/healthz", stop_seconds=2.0),
    Service("worker", "Worker", None, None, stop_seconds=5.0),
    Service("api", "API", "api", "/readyz", stop_seconds=3.0),
)


def program() -> list[str]:
    """This program, as it is started by hand where that is possible."""
    script = Path(sys.executable).with_name("abono")
    return [str(script)] if script.exists() else [sys.executable, "-m", "abono.cli"]


async def _answers(port: int, path: str) -> bool:
    """Whether GET `path` says 2xx. By hand: a client library would cost the start a second."""
    try:
        async with asyncio.timeout(_PROBE_SECONDS_MAX):
            reader, writer = await asyncio.open_connection(LOCALHOST, port)
            try:
                writer.write(f"GET {path} HTTP/1.0\r\nHost: {LOCALHOST}\r\n\r\n".encode())
                status_line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return status_line.partition(b" ")[2].startswith(b"2")
