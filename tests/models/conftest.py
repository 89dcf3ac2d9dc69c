from __future__ import annotations

from hypothesis import settings

# A busy machine is no failing example.
settings.register_profile("abono", deadline=None)
settings.load_profile("abono")
