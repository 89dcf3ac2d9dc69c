"""What was found is remembered for a while, for a bounded number of addresses."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from models.routing import Located

# Some 200 bytes each: 2 MB.
ENTRIES_MAX = 10_000
# Networks seldom move between countries; the databases are renewed weekly.
FOUND_SECONDS = 24 * 3600.0
# Nothing found is often a service that was away: ask again soon, but not with every request.
NOT_FOUND_SECONDS = 300.0


class Cache:
    """Least recently used goes first. Not finding anything is remembered too."""

    def __init__(self, clock: Callable[[], float], entries_max: int = ENTRIES_MAX) -> None:
        self._clock = clock
        self._entries_max = entries_max
        self._entries: OrderedDict[str, tuple[float, Located | None]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, address: str) -> tuple[bool, Located | None]:
        """Whether it is known, and what is known."""
        entry = self._entries.get(address)
        if entry is None:
            return False, None
        stale_at, located = entry
        if self._clock() >= stale_at:
            del self._entries[address]
            return False, None
        self._entries.move_to_end(address)
        return True, located

    def put(self, address: str, located: Located | None) -> None:
        lifetime = FOUND_SECONDS if located is not None else NOT_FOUND_SECONDS
        self._entries[address] = (self._clock() + lifetime, located)
        self._entries.move_to_end(address)
        if len(self._entries) > self._entries_max:
            self._entries.popitem(last=False)
