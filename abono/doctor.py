"""`abono doctor`: what this machine and these settings allow, on one page, without a secret on it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from abono.dev.errors import DevError
from abono.dev.explain import explain
from abono.dev.info import StackInfo, find_home, find_running, load_settings
from abono.dev.ports import DEFAULT_PORTS, is_free, variable
from abono.settings import Settings
from models.outcomes import ProviderName

if TYPE_CHECKING:
    from temporalio.client import Client

PYTHON_MIN = (3, 11)
_PACKAGES = ("temporalio", "stripe", "conekta", "fastapi", "sqlalchemy", "asyncpg", "pydantic")
# An address that swallows packets must not hold the page up for a minute.
_ASK_SECONDS_MAX = 6.0


class State(StrEnum):
    OK = "ok"
    OPEN = "open"  # Not there, and the engine starts without it.
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    subject: str
    state: State
    fact: str
    next_step: str = ""


async def examine(console: Console | None = None) -> int:
    """Print the page. Returns 0 when the engine can start, else 1."""
    home = find_home()
    settings = load_settings()
    stack = find_running(home)
    findings = [
        *_python(),
        *_programs(),
        *_ports(stack),
        await _database(settings, stack),
        *await _temporal(settings, stack),
        *_providers(settings),
        geolocation(settings),
    ]
    console = console or Console()
    console.print(_page(findings, home, stack))
    broken = [finding.subject for finding in findings if finding.state is State.BROKEN]
    if broken:
        console.print(f"[bold red]The engine cannot start:[/] {', '.join(broken)}.")
        return 1
    console.print("[bold green]The engine can start.[/]")
    return 0


def _page(findings: list[Finding], home: Path, stack: StackInfo | None) -> Table:
    running = f"a stack runs, API {stack.api_url}" if stack else "no stack runs"
    table = Table(
        title=f"Abono doctor · {home} · {running}", title_justify="left", show_lines=False
    )
    table.add_column("What", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("Found", overflow="fold")
    table.add_column("Next", overflow="fold")
    marks = {
        State.OK: "[green]✓[/]",
        State.OPEN: "[yellow]○[/]",
        State.BROKEN: "[bold red]✗[/]",
    }
    for finding in findings:
        table.add_row(finding.subject, marks[finding.state], finding.fact, finding.next_step)
    return table


def _python() -> Iterator[Finding]:
    running = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] >= PYTHON_MIN:
        yield Finding("Python", State.OK, running)
    else:
        yield Finding("Python", State.BROKEN, running, "Install Python 3.11 or newer.")
    found, missing = [], []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            missing.append(package)
    if missing:
        yield Finding("Packages", State.BROKEN, f"missing: {', '.join(missing)}", "Run `uv sync`.")
    else:
        yield Finding("Packages", State.OK, ", ".join(found))


def _programs() -> Iterator[Finding]:
    """Needed for `make up` alone: in production both servers run elsewhere."""
    from abono.dev import postgres_place, temporal

    for subject, look in (
        ("temporal program", temporal.binary),
        ("postgres program", lambda: postgres_place.wheel_folder() / "bin" / "postgres"),
    ):
        try:
            yield Finding(subject, State.OK, _shown(look()))
        except DevError as problem:
            yield Finding(subject, State.OPEN, problem.message, f"For `make up`: {problem.hint}")


def _ports(stack: StackInfo | None) -> Iterator[Finding]:
    if stack is not None:
        used = f"API {stack.api_url}, Temporal {stack.temporal_address}, {stack.temporal_ui_url}"
        yield Finding("Ports", State.OK, f"{used}, sandbox {stack.sandbox_url}")
        return
    parts, asked_and_busy = [], []
    for name, usual in DEFAULT_PORTS.items():
        asked = os.environ.get(variable(name))
        port = int(asked) if asked and asked.isdecimal() else usual
        free = is_free(port)
        parts.append(f"{name} {port} {'free' if free else 'busy'}")
        if asked and not free:
            asked_and_busy.append(variable(name))
    fact = ", ".join(parts)
    if asked_and_busy:
        step = f"Free or change {', '.join(asked_and_busy)}."
        yield Finding("Ports", State.BROKEN, fact, step)
    else:
        busy = "`make up` takes another port for a busy one." if "busy" in fact else ""
        yield Finding("Ports", State.OK, fact, busy)


async def _database(settings: Settings, stack: StackInfo | None) -> Finding:
    from abono.migrate import pending

    subject = "PostgreSQL"
    where = _without_password(settings.database_url)
    try:
        async with asyncio.timeout(_ASK_SECONDS_MAX):
            behind = await pending(settings.sqlalchemy_url)
    except Exception as problem:  # Whatever it is, the page must be shown.
        return _unreachable(subject, where, problem, "DATABASE_URL", stack)
    if behind:
        return Finding(
            subject, State.BROKEN, f"{where}, migrations are missing", "Run `abono migrate`."
        )
    return Finding(subject, State.OK, f"{where}, every migration applied")


async def _temporal(settings: Settings, stack: StackInfo | None) -> list[Finding]:
    from abono.search_attributes import missing as missing_search_attributes
    from abono.wiring import connect_temporal

    subject = "Temporal"
    where = f"{settings.temporal_address}, namespace {settings.temporal_namespace}"
    try:
        async with asyncio.timeout(_ASK_SECONDS_MAX):
            client = await connect_temporal(settings, lazy=False)
            missing = await missing_search_attributes(client)
            who = await workers(client, settings)
    except Exception as problem:
        return [_unreachable(subject, where, problem, "TEMPORAL_ADDRESS", stack)]
    if missing:
        temporal = Finding(
            subject,
            State.BROKEN,
            f"{where}, search attributes missing: {', '.join(missing)}",
            "`abono migrate --search-attributes` registers them.",
        )
    else:
        temporal = Finding(subject, State.OK, f"{where}, search attributes registered")
    return [temporal, who]


async def workers(client: Client, settings: Settings) -> Finding:
    """Never broken: the engine starts without them, and its work waits."""
    from abono.task_queues import needed, unserved
    from abono.worker_tuning import QUEUES
    from api.clock import now

    subject = "Workers"
    names = needed(name for name in ProviderName if getattr(settings, f"{name}_api_key"))
    missing = await unserved(client, names, now())
    if not missing:
        return Finding(subject, State.OK, f"take work of {', '.join(names)}")
    if missing == names:
        return Finding(subject, State.OPEN, "none: all work waits", "Start `abono worker`.")
    waiting = ", ".join(f"{name} (task queue {QUEUES[name]})" for name in missing)
    return Finding(
        subject,
        State.OPEN,
        f"none takes work of {waiting}: it waits",
        f"Start `abono worker --queues {','.join(missing)}`, or one without `--queues` for all.",
    )


def _unreachable(
    subject: str, where: str, problem: Exception, name: str, stack: StackInfo | None
) -> Finding:
    """Broken when somebody said where it is (or it should run); else `make up` will bring it."""
    if not os.environ.get(name) and stack is None:
        return Finding(subject, State.OPEN, "not running", f"`make up` starts one, or set {name}.")
    if isinstance(problem, TimeoutError):
        reason = f"no answer within {_ASK_SECONDS_MAX:.0f} s"
    else:
        reason = explain(problem) or f"{type(problem).__name__}: {problem}".splitlines()[0]
    return Finding(subject, State.BROKEN, f"{where}: {reason}", f"Check {name}.")


def _providers(settings: Settings) -> Iterator[Finding]:
    yield _provider(
        "Stripe",
        key=settings.stripe_api_key is not None,
        webhooks="signing secret" if settings.stripe_webhook_secret else "",
        base=settings.stripe_api_base,
        without="no cards, and nothing stands in for Conekta and Polar",
        webhook_variable="STRIPE_WEBHOOK_SECRET",
    )
    conekta_webhooks = [
        "public keys" if settings.conekta_webhook_public_keys else "",
        "relay secret" if settings.conekta_webhook_secret else "",
    ]
    yield _provider(
        "Conekta",
        key=settings.conekta_api_key is not None,
        webhooks=" and ".join(filter(None, conekta_webhooks)),
        base=settings.conekta_api_base,
        without="Mexican vouchers and transfers are issued by Stripe",
        webhook_variable="CONEKTA_WEBHOOK_PUBLIC_KEYS",
    )
    yield _provider(
        "Polar",
        key=settings.polar_api_key is not None,
        webhooks="signing secret" if settings.polar_webhook_secret else "",
        base=settings.polar_api_base,
        without="purchases are sold through Stripe",
        webhook_variable="POLAR_WEBHOOK_SECRET",
    )


def _provider(
    name: str, *, key: bool, webhooks: str, base: str | None, without: str, webhook_variable: str
) -> Finding:
    variable_name = f"{name.upper()}_API_KEY"
    if not key:
        step = f"Set {variable_name}; `make up` simulates the provider."
        return Finding(name, State.OPEN, f"no key → {without}", step)
    where = f"at {base}" if base else f"live: the real {name}"
    if not webhooks:
        return Finding(
            name,
            State.OPEN,
            f"key set, {where}; webhooks cannot be verified → they are refused",
            f"Set {webhook_variable}.",
        )
    return Finding(name, State.OK, f"key set, {where}; webhooks verified by {webhooks}")


def geolocation(settings: Settings) -> Finding:
    """Never broken: without any country an unknown customer is simply not in Mexico."""
    from providers.geolocation.database import Database, DatabaseUnusable

    subject = "Geolocation"
    services = f"then {settings.geo_ipapi_base}, then {settings.geo_ip_api_base}"
    if settings.geoip_database is None:
        step = "Set GEOIP_DATABASE to keep customers' addresses to yourself."
        return Finding(subject, State.OPEN, f"no database, {services}", step)
    try:
        database = Database(settings.geoip_database)
    except DatabaseUnusable as problem:
        return Finding(subject, State.OPEN, f"{problem}; {services}", "Check GEOIP_DATABASE.")
    database.close()
    return Finding(subject, State.OK, f"{database.description}, {services}")


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname or '?'}:{parts.port or 5432}{parts.path}"


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
