"""The end of a command's process: once Temporal's SDK is loaded the interpreter is not torn down."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# Temporal's threads abort a process that is torn down under them. `Torn` shows whether it is.
ENDING = """
import atexit
from abono.leaving import leave
{loading}
class Torn:
    def __del__(self):
        print("torn down", flush=True)
kept = Torn()
atexit.register(print, "at the exit")
print("told", end=" ")
leave(3)
"""


@pytest.mark.parametrize(
    ("loading", "output"),
    [
        ("import temporalio.client", "told at the exit\n"),
        ("", "told at the exit\ntorn down\n"),
    ],
)
def test_what_was_printed_and_registered_is_kept_and_the_code_too(
    loading: str, output: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ENDING.format(loading=loading)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (3, output), ended.stderr


def test_a_reader_that_has_gone_changes_nothing() -> None:
    ending = "import temporalio.client; from abono.leaving import leave; print('x'); leave(4)"
    with subprocess.Popen(
        [sys.executable, "-c", ending],
        env=os.environ | {"PYTHONUNBUFFERED": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        _, complaint = process.communicate()
    assert process.returncode == 4
    assert b"Traceback" not in complaint
