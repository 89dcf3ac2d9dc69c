"""Every shell block of the documents runs as it is printed, on a stack that a test starts as `make up` does.

A block that is not run here says below who runs it instead, or why nobody can.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from abono.dev.info import read_info
from abono.dev.services import program
from tests.docs.shell_blocks import script, shell_blocks
from tests.docs.test_docs import documents, read

START_SECONDS_MAX = 90.0
PAGE_SECONDS_MAX = 60.0
PROGRAMS = Path(program()[0]).parent
OTHERS = ("ABONO_", "TEMPORAL_", "STRIPE_", "CONEKTA_", "POLAR_", "DATABASE_")
QUICKSTART = "docs/quickstart.md"
# The shell that the quickstart sets up, and a voucher that is out.
SET_UP = slice(1, 4)
# Made of the time in seconds there; here several readers begin in the same one.
ORDER = "order-$(date +%s)"


@dataclass(frozen=True)
class Page:
    """`after`: blocks of the quickstart that a reader has run before. `instead`: what readers fill in."""

    name: str
    after: slice | None = None
    instead: dict[str, str] = field(default_factory=dict)


PAGES = (
    Page("README.md"),
    Page(QUICKSTART),
    Page(
        "docs/operating.md",
        SET_UP,
        {
            "subscription/ID": "subscription/$ID",
            "abono webhooks replay ID ID            # exit code 1": (
                "! abono webhooks replay $ID $ID            # exit code 1"
            ),
            "revoke PREFIX-OR-ID": "revoke $(abono keys list | tail -1 | cut -d ' ' -f 1)",
        },
    ),
    Page(
        "docs/receiving-events.md",
        SET_UP,
        {"https://your-host": "${API%/api/v1/billing}", "$KEY": "$ADMIN"},
    ),
    Page("docs/webhooks-setup.md", SET_UP, {"https://your-host": "${API%/api/v1/billing}"}),
)
# One after the other when the rest is done: what is on its way is drift, and faults take providers down.
ALONE = (
    Page("docs/reconciling.md"),
    Page("docs/sandbox.md", SET_UP, {"93440771869076": "$REFERENCE"}),
)

# By the first line of a block.
ELSEWHERE = {
    "make demo": "tests/demo plays it",
    "make up": "is what the stack of this test is",
    "make chaos": "minutes on purpose; tests/chaos plays a short one",
    ".venv/bin/abono simulate": "tests/simulate plays the same years",
    'grep -h \'"request_id"': "needs a request of that name; tests/api/test_logging reads such lines",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "needs a collector; tests/api has one",
    "post …/webhook-endpoints": "a pattern of requests; tests/api/test_outbound_delivery sends them",
}


def blocks_of(page: Page) -> list[str]:
    return [one for one in shell_blocks(read(page.name)) if not one.startswith(tuple(ELSEWHERE))]


def test_every_block_is_run_or_says_why_not() -> None:
    named = {page.name for page in (*PAGES, *ALONE)}
    forgotten = [
        (path.name, block.splitlines()[0])
        for path in documents()
        for block in shell_blocks(path.read_text())
        if not block.startswith(tuple(ELSEWHERE)) and not any(n.endswith(path.name) for n in named)
    ]
    assert not forgotten
    everything = [block for path in documents() for block in shell_blocks(path.read_text())]
    assert [w for w in ELSEWHERE if not any(b.startswith(w) for b in everything)] == []


@asynccontextmanager
async def make_up(folder: Path) -> AsyncIterator[dict[str, str]]:
    """As `make up` in that folder; the environment is that of a reader's second terminal there."""
    environment = {n: v for n, v in os.environ.items() if not n.startswith(OTHERS)}
    environment["PATH"] = f"{PROGRAMS}{os.pathsep}{environment['PATH']}"
    # Whoever runs the tests may have a stack running in this checkout, which is found from everywhere.
    environment["ABONO_HOME"] = str(folder / ".abono")
    log = (folder / "up.log").open("wb")
    process = await asyncio.create_subprocess_exec(
        *program(), "dev", cwd=folder, env=environment, stdout=log, stderr=log
    )
    try:
        async with asyncio.timeout(START_SECONDS_MAX):
            while (info := read_info(folder / ".abono")) is None:
                assert process.returncode is None, (folder / "up.log").read_text()
                await asyncio.sleep(0.1)
        yield environment | {"TEMPORAL_ADDRESS": info.temporal_address}
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        log.close()


async def run(page: Page, folder: Path, environment: dict[str, str]) -> str | None:
    """How it went wrong, if it did."""
    set_up = shell_blocks(read(QUICKSTART))[page.after] if page.after else []
    text = script([*set_up, *blocks_of(page)], page.instead)
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", text.replace(ORDER, f"order-{page.name}")),
        cwd=folder,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(PAGE_SECONDS_MAX):
            output = (await process.communicate())[0].decode()
    finally:
        if process.returncode is None:
            process.kill()
    right = process.returncode == 0 and "Traceback" not in output
    return None if right else f"{page.name} ended with {process.returncode}: {output[-2000:]}"


@pytest.mark.timeout(300)
async def test_the_commands_of_the_documents_do_what_the_documents_say(tmp_path: Path) -> None:
    async with make_up(tmp_path) as environment:
        ended = await asyncio.gather(*(run(page, tmp_path, environment) for page in PAGES))
        ended += [await run(page, tmp_path, environment) for page in ALONE]
    wrong = [how for how in ended if how is not None]
    assert not wrong, "\n\n".join(wrong)
