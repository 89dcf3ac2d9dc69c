"""A person's mistakes at the command line, and the doctor's page."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from abono import cli, doctor
from abono.settings import Settings


@pytest.fixture(autouse=True)
def quiet_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No stack of the person who runs the tests may be seen."""
    for name in os.environ:
        if name.startswith(("ABONO_", "TEMPORAL_", "STRIPE_", "CONEKTA_", "POLAR_", "DATABASE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ABONO_HOME", str(tmp_path / "home"))


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Bound but not listened on: connections are refused, and nobody else can take it."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


def test_an_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["nonsense"]) == 2
    assert "nonsense" in one_line(capsys)


def test_a_database_that_is_not_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://me:hidden@127.0.0.1:{closed_port}/abono")
    assert cli.run(["migrate"]) == 1
    line = one_line(capsys)
    assert "Cannot reach PostgreSQL" in line
    assert "make up" in line
    assert "hidden" not in line


@pytest.mark.parametrize("url", ["nonsense", "mysql://somewhere/abono"])
def test_a_url_that_is_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    assert cli.run(["migrate"]) == 1
    assert "DATABASE_URL" in one_line(capsys)


def test_a_setting_that_is_no_number(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABONO_DATABASE_POOL_SIZE", "many")
    assert cli.run(["migrate"]) == 1
    assert "ABONO_DATABASE_POOL_SIZE" in one_line(capsys)


def test_a_home_that_cannot_be_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "a file"
    file.touch()
    monkeypatch.setenv("ABONO_HOME", str(file / "home"))
    assert cli.run(["dev"]) == 1
    assert "ABONO_HOME" in one_line(capsys)


def test_help_is_quick_because_it_loads_little() -> None:
    program = (
        "import sys; from abono import cli; cli.run(['--help']);"
        "print(sorted({'temporalio', 'stripe', 'sqlalchemy', 'fastapi'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "doctor" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


async def test_the_doctor_with_nothing_running(
    monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    settings = Settings(
        DATABASE_URL=f"postgresql://postgres@127.0.0.1:{closed_port}/abono",
        TEMPORAL_ADDRESS=f"127.0.0.1:{closed_port}",
    )
    monkeypatch.setattr(doctor, "load_settings", lambda: settings)
    code, page = await examine()
    assert code == 0
    assert "no stack runs" in page
    assert page.count("not running") == 2
    assert "Mexican vouchers and transfers are issued by Stripe" in page


async def test_the_doctor_says_what_is_broken_and_no_secret(
    monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://me:hidden@127.0.0.1:{closed_port}/abono")
    monkeypatch.setenv("STRIPE_API_KEY", "sk_live_hidden")
    monkeypatch.setenv("CONEKTA_API_KEY", "key_hidden")
    monkeypatch.setenv("CONEKTA_WEBHOOK_SECRET", "hidden")
    code, page = await examine()
    assert code == 1
    assert "cannot start: PostgreSQL" in page
    assert "live: the real Stripe; webhooks cannot be verified" in page
    assert "webhooks verified by relay secret" in page
    assert "hidden" not in page


async def examine() -> tuple[int, str]:
    screen = io.StringIO()
    code = await doctor.examine(Console(file=screen, width=240))
    return code, screen.getvalue()
