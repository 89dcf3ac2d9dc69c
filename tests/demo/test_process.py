"""The whole thing as a person runs it, in a folder with a space, with a worker killed in the middle."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from abono.dev.info import info_file, is_locked, read_info
from abono.dev.services import program

# Both answers are lost by now and nobody knows yet what became of the requests: the worst moment.
KILL_AFTER = re.compile(r"Gabriela +subscribes")
BOOKS = """\
Abby card, Stripe 57.00 USD – – 57.00 USD ✓ active
Beatriz OXXO, Conekta 199.00 MXN – – 199.00 MXN ✓ active
Carlos OXXO, Conekta 199.00 MXN – 199.00 199.00 MXN ✓ active
Diana OXXO, Conekta 0.00 MXN – 199.00 0.00 MXN ✓ canceled
Elena SPEI, Conekta 199.00 MXN – – 199.00 MXN ✓ active
Fernando OXXO, Conekta 199.00 MXN – – 199.00 MXN ✓ active
Gabriela OXXO, Conekta 199.00 MXN – – 199.00 MXN ✓ active
Hugo OXXO, Stripe 199.00 MXN – – 199.00 MXN ✓ active
Ines OXXO, Stripe 199.00 MXN – – 199.00 MXN ✓ active
Jorge OXXO, Stripe 199.00 MXN – – 199.00 MXN ✓ active
Karla OXXO, Stripe 199.00 MXN – – 199.00 MXN ✓ active
Luis OXXO, Stripe 199.00 MXN – – 199.00 MXN ✓ active
Mateo OXXO, Conekta 199.00 MXN – – 199.00 MXN ✓ active
"""
OTHERS = ("ABONO_", "TEMPORAL_", "STRIPE_", "CONEKTA_", "POLAR_", "DATABASE_")


@asynccontextmanager
async def demo(home: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {n: v for n, v in os.environ.items() if not n.startswith(OTHERS)}
    process = await asyncio.create_subprocess_exec(
        *program(),
        "demo",
        env={**environment, "ABONO_HOME": str(home)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        # Read to the end: a child that cannot write cannot stop.
        await process.communicate()


async def kill_worker(home: Path) -> dict[str, int]:
    """The processes of the stack before that."""
    info = read_info(home)
    assert info is not None
    os.kill(info.pids["worker"], signal.SIGKILL)
    return info.pids


def rows(output: str) -> str:
    """The table's rows, one space between the columns."""
    found = re.findall(r"^ *(\w+ +(?:card|OXXO|SPEI), .*)$", output, flags=re.MULTILINE)
    return "".join(f"{' '.join(row.split())}\n" for row in found)


def is_alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


@pytest.mark.timeout(170)
async def test_the_story_survives_a_killed_worker(tmp_path: Path) -> None:
    home = tmp_path / "a home with spaces"
    lines: list[str] = []
    pids: dict[str, int] = {}
    async with demo(home) as process:
        assert process.stdout is not None
        async for raw in process.stdout:
            lines.append(raw.decode())
            if not pids and KILL_AFTER.search(lines[-1]):
                pids = await kill_worker(home)
        code = await process.wait()
    output = "".join(lines)
    assert code == 0, output
    assert rows(output) == BOOKS
    assert "57.00 USD and 2,189.00 MXN charged; the invoices say the same" in output
    assert "Killed in the middle and started again: worker. Nothing was lost." in output
    # What was started for the story is gone.
    assert not info_file(home).exists()
    assert not is_locked(home)
    assert not [name for name, pid in pids.items() if is_alive(pid)]
