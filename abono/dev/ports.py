"""Which ports the stack listens on: those that were asked for, else the usual ones, else free ones."""

from __future__ import annotations

import errno
import random
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from abono.dev.errors import DevError, PortBusy

LOCALHOST = "127.0.0.1"

DEFAULT_PORTS = {
    "api": 8080,
    "temporal": 7233,
    "temporal_ui": 8233,
    "postgres": 5433,
    "sandbox": 8090,
}

# Below the range from which Linux takes the ports of outgoing connections (32768 and up), so that
# nothing takes a chosen port between the choice and its use.
_SPARE_PORTS = range(20_000, 32_000)
_SPARE_TRIES_MAX = 200

_random = random.SystemRandom()


def variable(name: str) -> str:
    """The environment variable that fixes the port of `name`."""
    return f"ABONO_{name.upper()}_PORT"


def is_free(port: int, host: str = LOCALHOST) -> bool:
    """Whether a server could listen there now. Raises DevError where this user may never listen."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # Servers set it too: without it a port in TIME_WAIT would count as busy.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except PermissionError:
        raise DevError(
            f"This user may not listen on port {port}.", "Choose one above 1023."
        ) from None
    except OSError as problem:
        if problem.errno == errno.EADDRINUSE:
            return False
        raise DevError(f"Cannot listen on {host}:{port}: {problem.strerror}.") from None
    return True


@contextmanager
def claimed_ports(environment: Mapping[str, str]) -> Iterator[dict[str, int]]:
    """One port for each name in DEFAULT_PORTS, for the length of the block.

    Raises PortBusy for a busy one that was asked for. Servers listen later than ports are chosen;
    the claim keeps another stack, started meanwhile, from choosing the same.
    """
    with ExitStack() as claims:
        yield _choose(environment, claims)


@contextmanager
def spare_port() -> Iterator[int]:
    """A free port that is nobody's default, for the length of the block."""
    with ExitStack() as claims:
        yield _claim_spare(claims)


def _choose(environment: Mapping[str, str], claims: ExitStack) -> dict[str, int]:
    asked = {
        name: _parse(variable(name), environment[variable(name)])
        for name in DEFAULT_PORTS
        if environment.get(variable(name))
    }
    _refuse_twice_the_same(asked)
    for name, port in asked.items():
        if not _claim(port, claims):
            raise PortBusy(
                f"Port {port} ({variable(name)}) is already in use.",
                "Free it, choose another, or unset the variable.",
            )
    chosen = dict(asked)
    for name, port in DEFAULT_PORTS.items():
        if name not in chosen:
            usual = port not in chosen.values() and _claim(port, claims)
            chosen[name] = port if usual else _claim_spare(claims)
    return chosen


def _claim_spare(claims: ExitStack) -> int:
    for _ in range(_SPARE_TRIES_MAX):
        port = _random.choice(_SPARE_PORTS)
        if _claim(port, claims):
            return port
    raise DevError(f"No free port found between {_SPARE_PORTS.start} and {_SPARE_PORTS.stop}.")


def _claim(port: int, claims: ExitStack) -> bool:
    if not is_free(port):
        return False
    if sys.platform != "linux":
        return True
    # An abstract socket: no file, gone with its process, and of one network, as ports are.
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claim.bind(f"\0abono-port-{port}")
    except OSError:
        claim.close()
        return False
    claims.enter_context(claim)
    return True


def _parse(name: str, text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65_535:
        raise DevError(f"{name}={text!r} is not a port.", "Set a number from 1 to 65535.")
    return int(text)


def _refuse_twice_the_same(asked: Mapping[str, int]) -> None:
    by_port: dict[int, str] = {}
    for name, port in asked.items():
        if port in by_port:
            both = f"{variable(by_port[port])} and {variable(name)}"
            raise DevError(f"{both} are both {port}.", "Give each its own port.")
        by_port[port] = name
