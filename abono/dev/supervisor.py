"""Starts the whole stack in order, keeps it alive, stops it in reverse order.

PostgreSQL → migrations → Temporal → provider sandbox → worker → API, then the API keys and
`dev.json`. A child that dies is started again; one that keeps dying stops the stack.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from abono.dev import services, temporal
from abono.dev.environment import Wiring, wire
from abono.dev.errors import DevError
from abono.dev.info import (
    StackInfo,
    environment_file,
    info_file,
    only_one,
    write_info,
    write_private,
)
from abono.dev.ports import LOCALHOST, claimed_ports
from abono.dev.postgres import READY_SECONDS_MAX, EmbeddedPostgres
from abono.dev.process import Child, describe_exit
from abono.dev.report import Report

# Ctrl-C to an empty process list; each child may take its own `stop_seconds` out of this, but
# leaves something to those that are stopped after it.
STOP_SECONDS_MAX = 9.0
STOP_SECONDS_MIN = 0.8
RESTART_BACKOFF_SECONDS = (0.0, 0.2, 0.5, 1.0, 2.0)
DEATHS_MAX = 5
DEATHS_WINDOW_SECONDS = 30.0

Ready = Callable[[], Awaitable[bool]]


class Supervisor:
    """One stack for one home and these ports, which the caller holds (`only_one`,
    `claimed_ports`). `failed` is done when it had to give up."""

    def __init__(
        self, home: Path, ports: Mapping[str, int], *, throwaway: bool, report: Report
    ) -> None:
        self.home = home
        self.ports = ports
        self.throwaway = throwaway
        self.report = report
        self.info: StackInfo | None = None
        self.failed: asyncio.Future[DevError] = asyncio.get_running_loop().create_future()
        self._children: list[Child] = []
        self._watchers: list[asyncio.Task[None]] = []
        self._postgres: EmbeddedPostgres | None = None
        self._away: dict[str, asyncio.Event] = {}

    async def start(self, environment: Mapping[str, str]) -> StackInfo:
        """Returns when everything answers. Raises DevError; call `stop` in any case."""
        info_file(self.home).unlink(missing_ok=True)
        ports = self.ports
        database_url = await self._start_postgres(ports["postgres"])
        wiring = wire(self.home, ports, database_url, environment)
        for warning in wiring.warnings:
            self.report.warn(warning)
        await self._migrate(database_url)
        await self._start_temporal()
        await self._start_services(wiring, environment)
        api_key, admin_api_key = await self._api_keys(database_url)
        write_private(environment_file(self.home), wiring.shared)
        self.info = StackInfo(
            api_url=f"http://{LOCALHOST}:{ports['api']}",
            api_key=api_key,
            admin_api_key=admin_api_key,
            database_url=database_url,
            temporal_address=wiring.shared["TEMPORAL_ADDRESS"],
            temporal_namespace=temporal.NAMESPACE,
            temporal_ui_url=f"http://{LOCALHOST}:{ports['temporal_ui']}",
            sandbox_url=f"http://{LOCALHOST}:{ports['sandbox']}",
        )
        self._publish()
        return self.info

    async def stop(self, seconds_max: float = STOP_SECONDS_MAX) -> None:
        """Everything, last started first, within so many seconds; by force what takes longer."""
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        info_file(self.home).unlink(missing_ok=True)
        deadline = time.monotonic() + seconds_max
        for still_to_come, child in reversed(list(enumerate(self._children))):
            left = deadline - time.monotonic() - still_to_come * STOP_SECONDS_MIN
            seconds = min(child.stop_seconds, left)
            await asyncio.to_thread(child.stop, seconds)
        if self.throwaway and self._postgres:
            await asyncio.to_thread(self._postgres.remove)

    def kill(self) -> None:
        """For the impatient: no order, no grace. Every store on disk survives that."""
        for child in self._children:
            child.kill()

    def child(self, name: str) -> Child:
        """By the name of its log: postgres, temporal, sandbox, worker, api. Raises KeyError."""
        return {child.log_file.stem: child for child in self._children}[name]

    @contextmanager
    def away(self, name: str) -> Iterator[None]:
        """What dies during the block is started again after it, not before."""
        self._away[self.child(name).name] = back = asyncio.Event()
        try:
            yield
        finally:
            back.set()

    async def _start_postgres(self, port: int) -> str:
        with self.report.step("PostgreSQL", f"{LOCALHOST}:{port}"):
            server = await asyncio.to_thread(
                EmbeddedPostgres, self.home, port, throwaway=self.throwaway
            )
            self._postgres = server
            if await asyncio.to_thread(server.prepare):
                self._forget_former_life()

            async def ready() -> bool:
                return await asyncio.to_thread(server.is_ready)

            await self._launch(server.child, ready, READY_SECONDS_MAX)
            await asyncio.to_thread(server.ensure_database)
        return server.url

    def _forget_former_life(self) -> None:
        """A new database knows nothing of the workflows and payments that others still hold."""
        for name in (
            "temporal.db",
            "temporal.db-wal",
            "temporal.db-shm",
            "sandbox.json",
            "keys.json",
        ):
            (self.home / name).unlink(missing_ok=True)

    async def _migrate(self, database_url: str) -> None:
        from abono.migrate import upgrade

        with self.report.step("Migrations"):
            await upgrade(services.sqlalchemy_url(database_url))

    async def _start_temporal(self) -> None:
        ports = self.ports
        address = f"{LOCALHOST}:{ports['temporal']}"
        detail = f"{address}, UI http://{LOCALHOST}:{ports['temporal_ui']}"
        command = temporal.server_command(
            ports["temporal"],
            ui_port=ports["temporal_ui"],
            database_file=self.home / "temporal.db",
        )
        child = temporal.make_child(command, self.home / "logs" / "temporal.log")
        with self.report.step("Temporal", detail):
            ready = lambda: temporal.is_ready(address)  # noqa: E731
            await self._launch(child, ready, temporal.READY_SECONDS_MAX)

    async def _start_services(self, wiring: Wiring, environment: Mapping[str, str]) -> None:
        ports = self.ports
        children = [
            (service, service.child(self.home, environment, wiring))
            for service in services.SERVICES
        ]
        for _, child in children:  # Together: they spend their first second importing.
            self._start_child(child)
        for service, child in children:
            with self.report.step(service.title, service.detail(ports)):
                await self._see_up(child, service.ready(self.home, ports), service.ready_seconds)

    async def _launch(self, child: Child, ready: Ready, seconds: float) -> None:
        self._start_child(child)
        await self._see_up(child, ready, seconds)

    def _start_child(self, child: Child) -> None:
        self._children.append(child)
        child.start()

    async def _see_up(self, child: Child, ready: Ready, seconds: float) -> None:
        await child.wait_until(ready, seconds)
        watcher = asyncio.create_task(self._keep_alive(child, ready, seconds))
        self._watchers.append(watcher)

    async def _keep_alive(self, child: Child, ready: Ready, seconds: float) -> None:
        deaths: deque[float] = deque(maxlen=DEATHS_MAX)
        while True:
            code = await child.wait()
            died = time.monotonic()
            deaths.append(died)
            if len(deaths) == DEATHS_MAX and died - deaths[0] < DEATHS_WINDOW_SECONDS:
                self._give_up(child, code)
                return
            recent = sum(died - death < DEATHS_WINDOW_SECONDS for death in deaths)
            self.report.died(child.name, describe_exit(code))
            if child.name in self._away:
                await self._away.pop(child.name).wait()
            await asyncio.sleep(RESTART_BACKOFF_SECONDS[recent - 1])
            try:
                child.start()
                await child.wait_until(ready, seconds)
            except DevError as problem:
                if child.exit_code is None:
                    self._fail(problem)
                    return
                continue  # It died again: count that.
            self.report.back(child.name, time.monotonic() - died)
            self._publish()

    def _give_up(self, child: Child, code: int) -> None:
        often = f"{DEATHS_MAX} times within {DEATHS_WINDOW_SECONDS:.0f} s"
        self._fail(child.failure(f"{child.name} died {often} (last: {describe_exit(code)})."))

    def _fail(self, problem: DevError) -> None:
        if not self.failed.done():
            self.failed.set_result(problem)

    def _publish(self) -> None:
        """Write dev.json with the process ids of now (not before everything is up)."""
        if self.info is not None:
            pids = {child.log_file.stem: child.pid for child in self._children if child.pid}
            self.info = replace(self.info, pids=pids | {"supervisor": os.getpid()})
            write_info(self.home, self.info)

    async def _api_keys(self, database_url: str) -> tuple[str, str]:
        """Made once per database and kept: the database holds only their hashes."""
        from abono.keys import create_key

        file = self.home / "keys.json"
        with suppress(OSError, ValueError, KeyError):
            kept = json.loads(file.read_text())
            return kept["api_key"], kept["admin_api_key"]
        keys = {
            name: await create_key(database_url, application_name="Development", scopes=scopes)
            for name, scopes in services.KEY_SCOPES.items()
        }
        write_private(file, keys)
        return keys["api_key"], keys["admin_api_key"]


@asynccontextmanager
async def running_stack(
    home: Path,
    *,
    environment: Mapping[str, str] | None = None,
    throwaway: bool = False,
    report: Report | None = None,
) -> AsyncIterator[StackInfo]:
    """A whole stack for the length of the block.

    `environment` (default: the process's own) gives ports and provider keys; `throwaway` gives up
    the database's safety from a power cut, and deletes it afterwards. To be entered on the main
    thread. Raises DevError.
    """
    home = prepare_home(home)
    environment = os.environ if environment is None else environment
    with only_one(home), claimed_ports(environment) as ports:
        supervisor = Supervisor(home, ports, throwaway=throwaway, report=report or Report())
        try:
            yield await supervisor.start(environment)
        finally:
            await supervisor.stop()


async def run_in_foreground(home: Path, report: Report) -> None:
    """`abono dev`: until Ctrl-C or SIGTERM; a second one does not wait. Raises DevError."""
    home = prepare_home(home)
    with only_one(home), claimed_ports(os.environ) as ports:
        await _run_until_asked(Supervisor(home, ports, throwaway=False, report=report), report)


async def _run_until_asked(supervisor: Supervisor, report: Report) -> None:
    asked_to_stop = asyncio.Event()
    _on_signals(asked_to_stop, supervisor)
    running = asyncio.create_task(_start_and_wait(supervisor, report))
    stopping = asyncio.create_task(asked_to_stop.wait())
    try:
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if asked_to_stop.is_set():
            report.note("Stopping …")
        else:
            await running  # Raises what stopped it.
    finally:
        running.cancel()
        stopping.cancel()
        await asyncio.gather(running, stopping, return_exceptions=True)
        await supervisor.stop()
    report.note("Stopped")


async def _start_and_wait(supervisor: Supervisor, report: Report) -> None:
    info = await supervisor.start(os.environ)
    report.ready(info, _shown(supervisor.home))
    raise await supervisor.failed


def _on_signals(asked_to_stop: asyncio.Event, supervisor: Supervisor) -> None:
    def hear() -> None:
        if asked_to_stop.is_set():
            supervisor.kill()
        asked_to_stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # nohup means: stay when the terminal goes.
        if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
            continue
        loop.add_signal_handler(number, hear)


def prepare_home(home: Path) -> Path:
    """The absolute path of the folder, made when needed. Raises DevError when it cannot be."""
    home = home.absolute()
    try:
        (home / "run").mkdir(parents=True, exist_ok=True)
        (home / "logs").mkdir(exist_ok=True)
    except OSError as problem:
        raise DevError(
            f"Cannot write to {home}: {problem.strerror}.", "Set ABONO_HOME to another folder."
        ) from None
    if shutil.disk_usage(home).free < 200_000_000:
        raise DevError(
            f"Less than 200 MB are free where {home} is.", "Make room, or set ABONO_HOME."
        )
    return home


def _shown(home: Path) -> str:
    """Short where it can be: relative to here."""
    return str(home.relative_to(Path.cwd())) if home.is_relative_to(Path.cwd()) else str(home)
