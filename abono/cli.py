"""The `abono` command. Heavy modules are imported by the commands that need them.

Exit codes: 0 done, 1 it could not be done, 2 the command line was wrong, 130 interrupted.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer
from typer.exceptions import TyperException

from abono.chaos.command import commands as chaos
from abono.leaving import leave

if TYPE_CHECKING:
    from abono.settings import Settings

Result = TypeVar("Result")

app = typer.Typer(
    help="Abono, a subscription engine that survives anything.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
keys = typer.Typer(help="API keys of the applications that call Abono.")
app.add_typer(keys, name="keys")
webhooks = typer.Typer(
    help="Webhooks that providers sent: which wait, which failed, send them again."
)
app.add_typer(webhooks, name="webhooks")
app.add_typer(chaos, name="chaos")


def main() -> NoReturn:
    leave(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line; returns the exit code."""
    try:
        result = app(args=arguments or ["--help"], prog_name="abono", standalone_mode=False)
    except TyperException as problem:
        return _complain(f"{problem.format_message()} Try `abono --help`.", code=problem.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except Exception as problem:
        from abono.dev.explain import explain

        line = explain(problem)
        if line is None or os.environ.get("ABONO_DEBUG"):
            raise
        return _complain(line, code=1)
    return result if isinstance(result, int) else 0


def _complain(line: str, code: int) -> int:
    typer.echo(f"abono: {line}", err=True)
    return code


@app.command()
def dev() -> None:
    """Run the whole stack here until Ctrl-C: PostgreSQL, Temporal, sandbox, worker, API."""
    from rich.console import Console

    from abono.dev.info import find_home
    from abono.dev.report import ConsoleReport
    from abono.dev.supervisor import run_in_foreground

    asyncio.run(run_in_foreground(find_home(), ConsoleReport(Console())))


@app.command()
def demo() -> int:
    """Play a subscription's life against the running stack (starts one when none runs)."""
    import abono.demo

    return asyncio.run(abono.demo.run())


@app.command()
def simulate(
    years: Annotated[float, typer.Option(min=0.1, max=100, help="How long each one lives.")] = 1.0,
    subscriptions: Annotated[int, typer.Option(min=1, max=5000, help="How many.")] = 1,
    seed: Annotated[int, typer.Option(help="The same seed tells the same lives.")] = 1,
    faults: Annotated[bool, typer.Option("--faults", help="Outages and lost webhooks.")] = False,
) -> int:
    """Live years of subscriptions in seconds, and check that every invariant holds."""
    from rich.console import Console

    from abono.simulate.run import Options, simulate

    options = Options(years=years, subscriptions=subscriptions, seed=seed, faults=faults)
    return _run_on_uvloop(simulate(options, Console()))


@app.command()
def worker(
    queues: Annotated[
        str | None,
        typer.Option(help="Only these, a comma list: workflows, stripe, conekta, polar"),
    ] = None,
) -> int:
    """Run a worker: workflows and activities."""
    import abono.worker
    from abono.worker_tuning import QUEUES, parse_queues

    try:
        served = frozenset(QUEUES) if queues is None else parse_queues(queues)
    except ValueError as problem:
        return _complain(f"--queues: {problem}.", code=2)
    settings = _settings()
    _configure_logging(settings)
    _run_on_uvloop(abono.worker.run(settings, served))
    return 0


@app.command()
def api() -> None:
    """Run the HTTP API and the webhook dispatcher."""
    from abono.dev.ports import is_free, variable

    settings = _settings()
    if not is_free(settings.api_port, settings.api_host):
        from abono.dev.errors import PortBusy

        raise PortBusy(f"Port {settings.api_port} is already in use.", f"Set {variable('api')}.")
    import abono.api_server

    _configure_logging(settings)
    abono.api_server.run(settings)


@app.command()
def sandbox() -> None:
    """Run the simulated payment providers (settings: ABONO_SANDBOX_*)."""
    from abono.dev.sandbox import serve

    serve()


@app.command()
def migrate(
    search_attributes: Annotated[
        bool, typer.Option("--search-attributes", help="Register them at Temporal as well")
    ] = False,
) -> None:
    """Bring the database's tables to this version; safe to run again."""
    from abono.migrate import register_search_attributes, upgrade

    settings = _settings()
    asyncio.run(upgrade(settings.sqlalchemy_url))
    typer.echo("The database is up to date.")
    if search_attributes:
        new = asyncio.run(register_search_attributes(settings))
        typer.echo(f"Search attributes registered: {', '.join(new) if new else 'all were there'}.")


@app.command("codec-server")
def codec_server() -> None:
    """Let the Temporal UI show what ABONO_PAYLOAD_KEYS encrypts."""
    from abono.codec_server import serve
    from abono.dev.errors import DevError
    from abono.payload_codec import AesGcmCodec

    settings = _settings()
    _configure_logging(settings)
    if not settings.payload_key_ring:
        raise DevError("Nothing is encrypted.", "Set ABONO_PAYLOAD_KEYS.")
    typer.echo(f"Listening on http://{settings.codec_host}:{settings.codec_port}")
    codec = AesGcmCodec(settings.payload_key_ring)
    serve(
        codec,
        host=settings.codec_host,
        port=settings.codec_port,
        ui_origin=settings.codec_ui_origin,
    )


@app.command()
def reconcile(
    provider: Annotated[
        list[str] | None, typer.Option(help="stripe, conekta or polar; repeat for several")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="12h, 3d or a time; by default where the last run was done")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show, and change nothing")] = False,
    json: Annotated[bool, typer.Option("--json", help="For programs")] = False,
) -> int:
    """Compare the providers' books with ours and have what webhooks missed put right.

    Exit codes: 0 no drift, 1 drift repaired, 2 drift left for a person, 3 a provider was not compared
    to its end (the others were), 4 nothing could be done.
    """
    import abono.reconcile as reconciling
    from abono.dev.explain import explain
    from models.outcomes import ProviderName

    if unknown := set(provider or []) - set(ProviderName):
        return _complain(f"{min(unknown)} is no provider: {', '.join(ProviderName)}.", code=2)
    names = [ProviderName(name) for name in provider or []]
    try:
        asked = reconciling.Asked(names, reconciling.since_of(since), dry_run)
        outcome = asyncio.run(reconciling.reconcile(_settings(), asked, _say_meanwhile))
    except Exception as problem:
        line = explain(problem)
        if line is None or os.environ.get("ABONO_DEBUG"):
            raise
        return _complain(line, code=reconciling.NOT_DONE)
    typer.echo(reconciling.as_json(outcome) if json else reconciling.as_table(outcome))
    return outcome.exit_code


@app.command()
def doctor() -> int:
    """Show what this machine and these settings allow, and what to do about the rest."""
    from abono.doctor import examine

    return asyncio.run(examine())


@keys.command("create")
def create_key(
    application: Annotated[str, typer.Option(help="Name of the calling application; new or known")],
    scope: Annotated[list[str] | None, typer.Option(help="A scope; repeat for several")] = None,
    expires_in_days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="It stops by itself then")
    ] = None,
    requests_per_minute: Annotated[
        int | None, typer.Option(min=1, help="A limit of its own, instead of the usual one")
    ] = None,
) -> None:
    """Make an API key, by default for billing alone. It is shown once and kept only as a hash."""
    import abono.keys
    from abono.dev.services import KEY_SCOPES
    from api.clock import now

    settings = _settings()
    made = abono.keys.create_key(
        settings.database_url,
        application_name=application,
        scopes=scope or KEY_SCOPES["api_key"],
        pepper=settings.api_key_pepper.get_secret_value(),
        expires_at=now() + timedelta(days=expires_in_days) if expires_in_days else None,
        requests_per_minute=requests_per_minute,
    )
    _show_key(made)


@keys.command("rotate")
def rotate_key(
    key_id: Annotated[str, typer.Argument(help="Id or prefix, as `abono keys list` shows them")],
    overlap_hours: Annotated[
        float, typer.Option(min=0, max=8760, help="How long the old key still works")
    ] = 24,
) -> None:
    """Make a key that may do the same, and have the old one end after the overlap."""
    import abono.keys

    settings = _settings()
    made = abono.keys.rotate_key(
        settings.database_url,
        key_id,
        overlap=timedelta(hours=overlap_hours),
        pepper=settings.api_key_pepper.get_secret_value(),
    )
    _show_key(made)


def _show_key(made: Coroutine[Any, Any, str]) -> None:
    """On stdout, alone, so that it can be piped into a vault."""
    from abono.dev.errors import DevError

    try:
        typer.echo(asyncio.run(made))
    except ValueError as problem:
        raise DevError(str(problem)) from problem


@keys.command("list")
def list_keys() -> None:
    """Show every key's id, application, scopes, state and last use (never the key)."""
    import abono.keys

    for key in asyncio.run(abono.keys.list_keys(_settings().database_url)):
        typer.echo(str(key))


@keys.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="Id or prefix, as `abono keys list` shows them")],
) -> int:
    """Switch a key off at once and for good."""
    import abono.keys

    if asyncio.run(abono.keys.revoke_key(_settings().database_url, key_id)):
        typer.echo(f"{key_id} is revoked.")
        return 0
    return _complain(f"No key that is on has the id or prefix {key_id}.", code=1)


@webhooks.command("list")
def list_webhooks(
    state: Annotated[
        str, typer.Option(help="unapplied (not dealt with yet), failed (with an error), applied")
    ] = "unapplied",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Newest first, at most")] = 50,
    json: Annotated[bool, typer.Option("--json", help="For programs")] = False,
) -> int:
    """Show webhooks by state, with the error that the last try left."""
    import abono.webhooks
    from api.inbox_views import InboxState

    if state not in set(InboxState):
        return _complain(f"{state} is no state: {', '.join(InboxState)}.", code=2)
    url = _settings().database_url
    found = asyncio.run(abono.webhooks.list_webhooks(url, InboxState(state), limit))
    if json:
        typer.echo(abono.webhooks.as_json(found))
        return 0
    typer.echo(abono.webhooks.as_table(found) if found else f"No webhook is {state}.")
    if found and state != InboxState.APPLIED:
        typer.echo(
            "Each is tried again by itself. At once: `abono webhooks replay ID`. What the errors mean:"
            " docs/operating.md, under Webhooks that wait.",
            err=True,  # The table alone goes to grep.
        )
    return 0


@webhooks.command("replay")
def replay_webhooks(
    webhook_ids: Annotated[
        list[str] | None, typer.Argument(help="Ids, as `abono webhooks list` shows them")
    ] = None,
    all_failed: Annotated[bool, typer.Option("--all-failed", help="Every failed one")] = False,
) -> int:
    """Have webhooks delivered again. What was applied stays as it is."""
    from uuid import UUID

    import abono.webhooks

    if bool(webhook_ids) is all_failed:
        return _complain("Name webhooks by their ids, or say --all-failed.", code=2)
    url = _settings().database_url
    if all_failed:
        count = asyncio.run(abono.webhooks.replay_failed(url))
        typer.echo(f"{count} will be delivered again." if count else "No webhook is failed.")
        return 0
    try:
        ids = [UUID(text) for text in webhook_ids or []]
    except ValueError:
        return _complain("An id is a UUID, as `abono webhooks list` shows them.", code=2)
    count = asyncio.run(abono.webhooks.replay_webhooks(url, ids))
    typer.echo(f"{count} of {len(ids)} will be delivered again.")
    if count < len(ids):
        rest = "The others are" if count else "They are" if len(ids) > 1 else "It is"
        return _complain(f"{rest} applied already, or not there.", code=1)
    return 0


def _say_meanwhile(line: str) -> None:
    """Beside the result, which alone is on stdout."""
    typer.echo(f"abono: {line}", err=True)


def _settings() -> Settings:
    from abono.dev.info import load_settings

    return load_settings()


def _configure_logging(settings: Settings) -> None:
    from abono.logging import configure_logging

    choice = settings.log_format
    in_json = not sys.stderr.isatty() if choice == "auto" else choice == "json"
    configure_logging(settings.log_level, json=in_json, traced=settings.traced)


def _run_on_uvloop(work: Coroutine[Any, Any, Result]) -> Result:
    import uvloop

    return uvloop.run(work)


if __name__ == "__main__":
    main()
