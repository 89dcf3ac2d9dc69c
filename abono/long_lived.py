"""What is loaded at a process's start lives as long as the process."""

from __future__ import annotations

import gc


def keep_what_is_loaded() -> None:
    """Call it once, when everything is loaded. The garbage collector then looks only at what came later:
    to go through all modules and SDKs stops every request for 130 ms, once in ten thousand webhooks."""
    gc.collect()
    gc.freeze()
