"""How times, amounts and numbers are written for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from models.money import Money

MEXICO_CITY = "America/Mexico_City"

# By hand: the words of the machine's own locale are of no use to a customer in Mexico.
_DAYS = {
    "en": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
    "es": ("lun", "mar", "mié", "jue", "vie", "sáb", "dom"),
}
_MONTHS = {
    "en": ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
    "es": ("ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sep", "oct", "nov", "dic"),
}
_BARS = ("▌▐▌", "█▌▐", "▐█▌", "▌█▐", "▐▌█", "█▐▌", "▌▌█", "▐▐█", "█▌▌", "▐█▐")


def local_time(moment: datetime, time_zone: str, language: str = "en") -> str:
    """`Wed 25 Nov 2026, 14:46` on the clocks of `time_zone`."""
    local = moment.astimezone(ZoneInfo(time_zone))
    day, month = _DAYS[language][local.weekday()], _MONTHS[language][local.month - 1]
    return f"{day} {local.day} {month} {local.year}, {local:%H:%M}"


def local_day(moment: datetime, time_zone: str) -> str:
    return local_time(moment, time_zone).rpartition(",")[0]


def amount(amount_minor: int, currency: str) -> str:
    """`$199.00 MXN`: both currencies of the story are dollars or pesos."""
    return f"${Money(amount_minor=amount_minor, currency=currency)}"


def in_groups(digits: str) -> str:
    """`9312 7172 4114 03`: as people read it out."""
    return " ".join(digits[i : i + 4] for i in range(0, len(digits), 4))


def in_words(names: Sequence[str]) -> str:
    """`Ines, Jorge and Karla`."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def barcode(digits: str) -> str:
    """Looks like one; no scanner would be deceived."""
    return "".join(_BARS[int(digit)] for digit in digits if digit in "0123456789")
