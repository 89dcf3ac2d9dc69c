"""After the blows: waits for rest, and checks all eight invariants on the stack of real processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from temporalio.client import Client
from temporalio.service import RPCError

from abono.chaos.calling import Caller
from abono.correlation import Correlation
from abono.dev.info import StackInfo
from abono.keys import create_key
from abono.payload_converter import plain_data_converter
from abono.settings import Settings
from abono.simulate.commitments import check_commitments
from abono.simulate.invariants import InvariantViolated, check_invariants, hold
from abono.worker import WORKFLOWS, make_replayer
from models.outcomes import OutcomeClass
from models.storage.engine import Sessions, make_engine, make_sessions
from models.storage.tables import ChargeAttempt, Purchase, Subscription

# No sandbox's clock is moved here, so that nothing is due at a provider after an end.
_FAREWELL = timedelta(minutes=2)
_LOOK_SECONDS = 1.0
_AGAIN_EVERY_LOOKS = 10
# Written into requests by the load, or known to the processes alone: in no log, ever.
_SECRETS = ("tok_test_", "pm_card_", "whsec_", "sk_test_sandbox", "key_sandbox", "polar_oat_")


@dataclass
class StackBooks:
    """The books of a running stack, as `abono.simulate.invariants.Books` reads them."""

    client: Client
    sessions: Sessions
    sandbox_url: str

    async def movements(self) -> list[dict[str, Any]]:
        async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
            answer = await http.get(f"{self.sandbox_url}/_control/charges")
            found: list[dict[str, Any]] = answer.raise_for_status().json()
            return found

    async def all(self, statement: Any) -> list[Any]:
        async with self.sessions() as session:
            return list((await session.scalars(statement)).all())


@asynccontextmanager
async def books_of(info: StackInfo) -> AsyncIterator[StackBooks]:
    engine = make_engine(Settings(DATABASE_URL=info.database_url).sqlalchemy_url, pool_size=3)
    client = await Client.connect(
        info.temporal_address,
        namespace=info.temporal_namespace,
        data_converter=plain_data_converter,
    )
    try:
        yield StackBooks(client, make_sessions(engine), info.sandbox_url)
    finally:
        await engine.dispose()


async def come_to_rest(
    books: StackBooks, caller: Caller, seconds: float, tell: Callable[[str], None]
) -> float:
    """Looks until every book agrees; how long that took. Raises InvariantViolated when something is
    still wrong after `seconds`: then it is no delay."""
    began = time.monotonic()
    looks = 0
    while True:
        if looks % _AGAIN_EVERY_LOOKS == 0:
            # As providers do with what was not taken; a lost one is found by a later repetition.
            await caller.control("POST", "/webhooks/redeliver", {"only_undelivered": True})
        looks += 1
        try:
            await _check(books)
        except (InvariantViolated, SQLAlchemyError, RPCError, OSError, httpx.HTTPError) as problem:
            if looks % _AGAIN_EVERY_LOOKS == 1:
                tell(f"  not at rest yet: {str(problem).splitlines()[0][:200]}")
            if time.monotonic() - began > seconds:
                raise InvariantViolated(f"after {seconds:.0f} s of rest: {problem}") from problem
        else:
            return time.monotonic() - began
        await asyncio.sleep(_LOOK_SECONDS)


async def _check(books: StackBooks) -> None:
    await _nothing_is_undecided(books)
    await check_commitments(books, farewell=_FAREWELL)
    await check_invariants(books)


async def _nothing_is_undecided(books: StackBooks) -> None:
    """What was accepted has begun, and what may have happened is known by now."""
    for table in (Subscription, Purchase):
        waiting = await books.all(select(table.id).where(table.version == 0))
        hold(not waiting, f"invariant 3: accepted and never begun: {waiting[:5]}")
    unknown = ChargeAttempt.outcome == OutcomeClass.UNKNOWN
    open_ = await books.all(select(ChargeAttempt.id).where(unknown))
    hold(not open_, f"invariant 1: still unknown: {open_[:5]}")


async def check_tenants(info: StackInfo) -> None:
    """Invariant 7: another application sees nothing of all this, and knows of nothing in it."""
    key = await create_key(info.database_url, application_name="Stranger", scopes=["billing:read"])
    mine = {"Authorization": f"Bearer {info.api_key}"}
    strange = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=f"{info.api_url}/api/v1", trust_env=False) as http:
        for path in ("/billing/subscriptions", "/billing/invoices", "/billing/purchases"):
            seen = (await http.get(path, headers=mine)).json().get("data", [])
            listed = await http.get(path, headers=strange)
            known = [
                answer.status_code
                for one in seen[:3]
                for answer in [await http.get(f"{path}/{one['id']}", headers=strange)]
                if answer.status_code != httpx.codes.NOT_FOUND
            ]
            blind = not listed.json().get("data") and not known
            hold(blind, f"invariant 7: a stranger sees {path}")


def check_logs(home: Path, info: StackInfo) -> None:
    """Invariant 7: no key, token or card in what the processes wrote."""
    for log in sorted((home / "logs").glob("*.log*")):
        text = log.read_text(errors="replace")
        for secret in (*_SECRETS, info.api_key, info.admin_api_key):
            hold(secret not in text, f"invariant 7: {log.name} has {secret[:8]}… in it")


async def check_replays(books: StackBooks) -> int:
    """Invariant 8: every history of this run replays. How many there were."""
    replayer = make_replayer([Correlation()])
    count = 0
    async for execution in books.client.list_workflows():
        handle = books.client.get_workflow_handle(execution.id, run_id=execution.run_id)
        if execution.workflow_type not in {workflow.__name__ for workflow in WORKFLOWS}:
            continue
        result = await replayer.replay_workflow(
            await handle.fetch_history(), raise_on_replay_failure=False
        )
        hold(
            result.replay_failure is None,
            f"invariant 8: {execution.id} does not replay: {result.replay_failure}",
        )
        count += 1
    return count
