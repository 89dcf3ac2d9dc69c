"""How a command ends its process."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from typing import NoReturn

_TEMPORAL_CORE = "temporalio.bridge.temporal_sdk_bridge"


def leave(code: int) -> NoReturn:
    """End this process with `code`.

    A thread of Temporal's SDK that hands something to Python while the interpreter is torn down aborts
    it ("PyGILState_Release ... finalizing", exit code 134): on a busy machine one command of five that
    had done all its work. So where the SDK is loaded nothing is torn down: what was registered for the
    exit is called, what was printed goes out, and the process is gone.
    """
    if _TEMPORAL_CORE not in sys.modules:
        sys.exit(code)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # Nobody reads any more, or it is closed.
            stream.flush()
    os._exit(code)
