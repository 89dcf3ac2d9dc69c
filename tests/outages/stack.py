"""The whole engine as real processes, with two of the API behind a balancer, and how they are ended."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from abono.chaos.stage import BACK_SECONDS_MAX, Stage, stage
from abono.dev.info import StackInfo, environment_file
from abono.dev.ports import LOCALHOST, spare_port
from abono.dev.process import Child
from abono.dev.sandbox import SANDBOX_PREFIX
from abono.dev.services import program
from abono.simulate.serving import bound_socket, serving, url_of
from api.app import API_PREFIX
from tests.outages.balancer import Balancer

# Nothing of a person's own settings may hide what is tested, and a test asks more than any limit allows.
_OURS = {"ABONO_REQUESTS_PER_MINUTE": "0"}


@dataclass
class Stack:
    on: Stage
    second: Child  # The other process of the API. Nobody starts it again but the test.
    second_url: str
    balancer: Balancer

    @property
    def info(self) -> StackInfo:
        return self.on.info

    async def kill_api(self) -> None:
        """Both processes get a SIGKILL at once, and are started again; returns when they are ready, for which
        Temporal has to be there."""
        self.second.kill()
        first = asyncio.create_task(self.on.kill("api"))
        self.second.start()
        await self.second.wait_until(self._second_is_ready, BACK_SECONDS_MAX)
        await first

    def pids(self) -> dict[str, int | None]:
        """Of those that must outlive what is done to the others."""
        child = self.on.supervisor.child
        return {name: child(name).pid for name in ("api", "worker")} | {"second": self.second.pid}

    async def figures(self) -> str:
        """What both processes of the API say of themselves, one after the other."""
        async with httpx.AsyncClient(trust_env=False) as http:
            urls = (self.info.api_url, self.second_url)
            return "\n".join([(await http.get(f"{url}/metrics")).text for url in urls])

    async def _second_is_ready(self) -> bool:
        return await _answers(self.second_url)


@asynccontextmanager
async def open_stack(home: Path, tell: Callable[[str], None]) -> AsyncIterator[Stack]:
    async with AsyncExitStack() as until:
        # Its address is told to the sandbox before there is anybody to carry anything to.
        door = bound_socket()
        more = _OURS | {f"{SANDBOX_PREFIX}WEBHOOK_BASE_URL": f"{url_of(door)}{API_PREFIX}/webhooks"}
        on = await until.enter_async_context(stage(home, tell, more))
        port = until.enter_context(spare_port())
        second = _second(on.home, port)
        url = f"http://{LOCALHOST}:{port}"
        balancer = Balancer([on.info.api_url, url])
        until.push_async_callback(balancer.aclose)
        await until.enter_async_context(serving(balancer, door))
        until.callback(second.kill)
        second.start()
        stack = Stack(on, second, url, balancer)
        await second.wait_until(stack._second_is_ready, BACK_SECONDS_MAX)
        yield stack


def _second(home: Path, port: int) -> Child:
    told = json.loads(environment_file(home).read_text())
    return Child(
        name="API, the second one",
        command=[*program(), "api"],
        log_file=home / "logs" / "api-2.log",
        environment=os.environ | _OURS | told | {"ABONO_API_PORT": str(port)},
        stop_seconds=3.0,
    )


async def _answers(url: str) -> bool:
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=2.0) as http:
            return (await http.get(f"{url}/readyz")).is_success
    except httpx.HTTPError:
        return False
