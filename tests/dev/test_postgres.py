"""The embedded PostgreSQL: in a path with a space, as root or not, after every kind of end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from abono.dev.errors import ChildFailed, DevError
from abono.dev.ports import spare_port
from abono.dev.postgres import EmbeddedPostgres, running_postgres, wait_until_ready
from abono.dev.postgres_place import find_place


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "a home with spaces"
    folder.mkdir()
    return folder


@pytest.fixture
def port() -> Iterator[int]:
    with spare_port() as chosen:
        yield chosen


@pytest.fixture
def server(home: Path, port: int) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(home, port, throwaway=True)
    assert server.prepare()
    start(server)
    yield server
    server.child.stop()
    server.remove()


def start(server: EmbeddedPostgres) -> None:
    server.child.start()
    wait_until_ready(server)
    server.ensure_database()


async def ask(server: EmbeddedPostgres, query: str) -> object:
    connection = await asyncpg.connect(server.url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_kill_9_loses_nothing_and_does_not_stop_the_next_start(
    server: EmbeddedPostgres,
) -> None:
    await ask(server, "CREATE TABLE kept AS SELECT 42 AS answer")
    pid = server.child.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await server.child.wait()
    assert (server.place.data / "postmaster.pid").exists()

    start(server)

    assert await ask(server, "SELECT answer FROM kept") == 42


async def test_a_lock_file_whose_process_is_another_one_today_does_not_stop_the_start(
    server: EmbeddedPostgres,
) -> None:
    server.child.stop()
    lock = server.place.data / "postmaster.pid"
    lock.write_text(f"{os.getppid()}\n{server.place.data}\n")

    start(server)

    assert await ask(server, "SELECT 1") == 1


def test_another_server_on_its_port_is_not_taken_for_it(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    stranger = EmbeddedPostgres(tmp_path, server.port, throwaway=True)
    stranger.prepare()
    stranger.child.start()
    try:
        with pytest.raises(ChildFailed, match="Address already in use"):
            wait_until_ready(stranger)
    finally:
        stranger.child.stop()
        stranger.remove()


async def test_a_server_left_behind_makes_way(server: EmbeddedPostgres, home: Path) -> None:
    """Its supervisor is gone without a trace; the next one finds folder and port in use."""
    successor = EmbeddedPostgres(home, server.port, throwaway=True)
    assert not successor.prepare()

    start(successor)

    assert await ask(successor, "SELECT 1") == 1
    assert server.child.exit_code is not None
    successor.child.stop()


def test_data_of_another_major_version_is_refused_in_words(server: EmbeddedPostgres) -> None:
    server.child.stop()
    (server.place.data / "PG_VERSION").write_text("12\n")

    with pytest.raises(DevError, match="made by PostgreSQL 12"):
        server.prepare()


def test_a_throwaway_server_leaves_nothing_running_and_nothing_on_disk(home: Path) -> None:
    with running_postgres(home) as url:
        assert url.startswith("postgresql://postgres@127.0.0.1:")
        data = (home / "postgres").resolve()
        assert (data / "postmaster.pid").exists()
    assert not data.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs it under another account")
def test_root_keeps_the_data_outside_of_a_closed_folder(home: Path) -> None:
    home.parent.chmod(0o700)
    place = find_place(home)
    assert place.refuge is not None
    assert place.account is not None
    assert home not in place.data.parents
    assert (home / "postgres").is_symlink()
    assert home.parent.stat().st_mode & 0o777 == 0o700
    place.refuge.rmdir()
