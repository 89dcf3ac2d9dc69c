"""What the simulated years came to: a summary, or one life as a timeline."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from abono.simulate.driver import Outcome
from abono.simulate.world import World
from api.auth import Principal
from api.sentences import EntryKind
from api.timeline import read_timeline
from models.money import Money
from models.storage.tables import Subscription

# A year of a card is some 100 lines; ten years of vouchers would be thousands.
_LINES_MAX = 400
# Every invoice has these beside the lines that say the same in a person's words.
_NOISE = frozenset({EntryKind.EVENT, EntryKind.WEBHOOK})


async def tell_timeline(console: Console, world: World, outcome: Outcome) -> None:
    """The life of the one subscription, as the API's timeline tells it."""
    if outcome.first_subscription_id is None:
        return
    principal = Principal(application_id=world.application_id, actor="simulate", scopes=frozenset())
    async with world.sessions() as session:
        row = await session.get_one(Subscription, outcome.first_subscription_id)
        entries = await read_timeline(
            session, row, principal, after=None, newest_first=False, limit=10 * _LINES_MAX
        )
    told = [entry for _, entry in entries if entry.kind not in _NOISE]
    console.print()
    for entry in told[:_LINES_MAX]:
        actor = f"{entry.actor:<18}" if entry.actor else " " * 18
        line = f"[dim]{entry.at:%Y-%m-%d %H:%M}[/]  {escape(actor)} {escape(entry.title)}"
        console.print(line, soft_wrap=True)
    if len(told) > _LINES_MAX:
        console.print(f"[dim]… and {len(told) - _LINES_MAX} more[/]")


def tell_outcome(console: Console, outcome: Outcome, command: str) -> None:
    """`command` plays the same lives again."""
    pace = outcome.subscription_years / outcome.seconds if outcome.seconds else 0.0
    money = ", ".join(
        str(Money(amount_minor=total, currency=currency))
        for currency, total in sorted(outcome.received.items())
    )
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column()
    for name, text in (
        (
            "lived",
            f"{outcome.subscription_years:g} subscription years in {outcome.seconds:.1f} s"
            f" ({pace:.1f} a second)",
        ),
        ("subscriptions", _counted(outcome.statuses)),
        ("invoices", _counted(outcome.invoices)),
        ("attempts", _counted(outcome.attempts)),
        ("customers", _counted(outcome.deeds)),
        ("outages", f"{outcome.outages}, fallbacks {outcome.fallbacks}"),
        ("received", money or "nothing"),
    ):
        table.add_row(name, escape(text))
    console.print()
    console.print(table)
    console.print()
    if not outcome.violations:
        console.print("[bold green]All invariants hold.[/]")
        return
    for violation in outcome.violations:
        console.print(f"[bold red]Violated:[/] {escape(violation)}")
    console.print(f"The same lives again: [bold]{escape(command)}[/]")


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counter.most_common()) or "none"
