"""How the story looks: a timeline, payment slips, and the books at the end."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Any

from rich.box import ROUNDED, SIMPLE_HEAVY
from rich.console import Console, Group
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from abono.demo.checks import BookLine, StepFailed
from abono.demo.wording import MEXICO_CITY, amount, barcode, in_groups, local_time
from abono_client.models import PayVoucher
from models.money import Money

# People first, then the machines that act on their own.
_STYLES = {
    "Abby": "bright_blue",
    "Beatriz": "magenta",
    "Carlos": "yellow",
    "Diana": "bright_red",
    "Elena": "bright_magenta",
    "Fernando": "bright_yellow",
    "Gabriela": "bright_green",
    "Hugo": "bright_cyan",
    "Mateo": "magenta",
    "Conekta": "red",
    "Abono": "bold cyan",
}
_OTHER_STYLE = "white"
_INSTRUMENTS = {"oxxo": "OXXO", "spei": "SPEI"}
_ACTOR_WIDTH = 9
_INDENT = 12
_SLIP_INDENT = 4
_SLIP_WIDTH = 76
# In a file or a pipe there is no width to be asked for.
_WIDTH_ELSEWHERE = 110


def make_console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH_ELSEWHERE)


class Telling:
    """Text given to `say` and `chapter` is rich markup; what others wrote is escaped here."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def title(self) -> None:
        title = Text("Abono", style="bold cyan")
        title.append("  a subscription engine that survives anything", style="default")
        self.console.print(title)
        self.console.print(
            "Real Temporal, PostgreSQL and provider SDKs; only the banks are simulated.",
            style="dim",
        )
        self.console.print()

    def chapter(self, number: int, title: str) -> None:
        self.console.print()
        self.console.print(Rule(f"[bold]{number} · {title}[/]", align="left", style="dim"))

    def say(self, actor: str, text: str) -> None:
        """One line of the timeline; long text stays in its column."""
        line = Table.grid(padding=(0, 1))
        line.add_column(no_wrap=True, style="dim")
        line.add_column(no_wrap=True, min_width=_ACTOR_WIDTH)
        line.add_column(ratio=1)
        name = Text(actor, style=_STYLES.get(actor, _OTHER_STYLE))
        line.add_row(f" {time.strftime('%H:%M:%S')}", name, text)
        self.console.print(line)

    def link(self, url: str) -> None:
        """Whole, on a line of its own, so that a terminal can open it."""
        self._line(f"{' ' * (_INDENT - 2)}[dim]↳ {escape(url)}[/]")

    def note(self, text: str) -> None:
        self._line(f"  [green]✓[/] {text}")

    def waiting(self, text: str) -> AbstractContextManager[Any]:
        """Something turns while nothing else is to be seen (on a screen only)."""
        if not self.console.is_terminal:
            return nullcontext()
        return self.console.status(f"[dim]{text}[/]", spinner="dots")

    def slip(self, customer: str, action: PayVoucher) -> None:
        """The voucher as the customer gets it: what to pay, where, until when."""
        self.console.print(Padding(slip(customer, action), (0, 0, 0, _SLIP_INDENT)))

    def failure(self, problem: StepFailed) -> None:
        rows = Table.grid(padding=(0, 2))
        rows.add_column(style="bold", no_wrap=True)
        rows.add_column(ratio=1)
        rows.add_row("expected", Text(problem.expected))
        rows.add_row("got", Text(problem.got))
        title = "[bold red]✗ This step did not hold[/]"
        self.console.print()
        self.console.print(Panel(rows, title=title, title_align="left", border_style="red"))
        for place in problem.where:
            self._line(f"  look at  {escape(place)}")

    def books(self, lines: Sequence[BookLine]) -> None:
        self.console.print()
        self.console.print(books(lines))
        for line in lines:
            for complaint in line.complaints:
                self._line(f"  [bold red]✗[/] {line.customer}: {escape(complaint)}")
        if all(line.good for line in lines):
            self._line(f"  [bold green]✓[/] [bold]{total(lines)}[/]")

    def links(self, links: Iterable[tuple[str, str]]) -> None:
        """Pairs of customer and address."""
        self.console.print()
        self._line("  Every life, step by step, in the Temporal UI:")
        for name, url in links:
            self._line(f"  {name:<{_ACTOR_WIDTH}} [dim]{escape(url)}[/]")

    def ending(self, text: str, details: Iterable[str]) -> None:
        self.console.print()
        self._line(text)
        for detail in details:
            self._line(f"[dim]{escape(detail)}[/]")

    def _line(self, text: str) -> None:
        # Addresses must stay whole when the window is narrow.
        self.console.print(text, soft_wrap=True)


def slip(customer: str, action: PayVoucher) -> Panel:
    """A payment slip in Spanish and English, with the expiry on the clocks of Mexico City."""
    voucher = action.vouchers[0]
    rows = Table.grid(padding=(0, 2))
    rows.add_column(no_wrap=True, style="dim")
    rows.add_column(ratio=1)
    rows.add_row("A nombre de · For", Text(customer))
    rows.add_row("Referencia · Reference", Text(in_groups(voucher.reference), style="bold"))
    rows.add_row("Monto · Amount", Text(amount(action.amount_minor, action.currency), style="bold"))
    if action.expires_at is not None:
        rows.add_row("Vence · Expires", _expiry(action.expires_at))
    link = Text(voucher.barcode_url or "")
    how = Text("Muestra esta ficha en la caja de cualquier OXXO y paga en efectivo.\n")
    how.append("Show this slip at the till of any OXXO and pay in cash.", style="dim")
    bars = Text(barcode(voucher.reference), no_wrap=True, overflow="crop")
    content = Group(rows, Text(), Group(bars, bars), link, Text(), how)
    return Panel(
        content,
        title="[bold red]OXXO[/] · ficha de pago · payment slip",
        title_align="left",
        box=ROUNDED,
        width=_SLIP_WIDTH,
    )


def _expiry(moment: datetime) -> Text:
    text = Text(f"{local_time(moment, MEXICO_CITY, 'es')} h, Ciudad de México\n")
    return text.append(f"{local_time(moment, MEXICO_CITY)}, Mexico City", style="dim")


def books(lines: Sequence[BookLine]) -> Table:
    """What was charged where, next to what the invoices say."""
    title = "What was charged, and what the invoices say"
    table = Table(box=SIMPLE_HEAVY, title=title, pad_edge=False, collapse_padding=True)
    table.add_column("Customer")
    table.add_column("Pays by", no_wrap=True)
    for name in ("Charged", "Open", "Void", "Invoices say"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("Status")
    for line in lines:
        tick = "[green]✓[/]" if line.good else "[bold red]✗[/]"
        table.add_row(
            line.customer,
            Text(f"{_INSTRUMENTS.get(line.pays_by, line.pays_by)}, {line.providers}"),
            str(line.charged),
            _or_dash(line.open),
            _or_dash(line.dead),
            f"{line.invoiced} {tick}",
            Text(line.status),
        )
    return table


def _or_dash(money: Money) -> str:
    return str(money.to_decimal()) if money.amount_minor else "–"


def total(lines: Sequence[BookLine]) -> str:
    """`57.00 USD and 995.00 MXN charged; the invoices say the same, to the centavo.`"""
    sums: dict[str, Money] = {}
    for line in lines:
        currency = line.charged.currency
        sums[currency] = sums[currency] + line.charged if currency in sums else line.charged
    charged = " and ".join(str(money) for money in sums.values())
    return f"{charged} charged; the invoices say the same, to the centavo."
