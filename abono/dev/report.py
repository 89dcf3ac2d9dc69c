"""What a person sees while the stack starts, runs and stops."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from rich.console import Console

from abono.dev.info import StackInfo


class Report:
    """Says nothing: for tests, and for the demo, which tells its own story."""

    def step(self, name: str, detail: str = "") -> AbstractContextManager[None]:
        """Around one thing that takes a while."""
        return nullcontext()

    def note(self, text: str) -> None:
        """Something happened."""

    def died(self, name: str, why: str) -> None:
        """A child ended by itself, and is going to be started again."""
        self.note(f"{name} died ({why}); starting it again")

    def back(self, name: str, seconds: float) -> None:
        """It answers again, so many seconds after its end was noticed."""
        self.note(f"{name} is back ({seconds:.1f} s)")

    def warn(self, text: str) -> None:
        """Something the person must not miss."""

    def ready(self, info: StackInfo, home: str) -> None:
        """Everything is up."""


class ConsoleReport(Report):
    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def step(self, name: str, detail: str = "") -> Iterator[None]:
        started = time.monotonic()
        with self.console.status(f"{name} …") if self.console.is_terminal else nullcontext():
            yield
        self._line(
            f"  [green]✓[/] {name:<24}[dim]{time.monotonic() - started:5.1f} s[/]   {detail}"
        )

    def note(self, text: str) -> None:
        self._line(f"  [yellow]•[/] [dim]{time.strftime('%H:%M:%S')}[/] {text}")

    def warn(self, text: str) -> None:
        self._line(f"  [bold red]![/] [bold]{text}[/]")

    def ready(self, info: StackInfo, home: str) -> None:
        rows = {
            "API": f"{info.api_url}   (reference: {info.api_url}/docs)",
            "Temporal UI": info.temporal_ui_url,
            "Provider sandbox": info.sandbox_url,
            "PostgreSQL": info.database_url,
            "API keys": f"{home}/dev.json",
            "Logs": f"{home}/logs/",
        }
        self._line("")
        for name, value in rows.items():
            self._line(f"  {name:<18}{value}")
        self._line("")
        self._line("[bold green]Abono is ready[/]")
        self._line("[dim]Next: `make demo` in another terminal. Ctrl-C stops everything.[/]")

    def _line(self, text: str) -> None:
        # Addresses must stay whole when the output goes into a narrow terminal or a file.
        self.console.print(text, soft_wrap=True, highlight=False)
