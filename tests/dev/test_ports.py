"""Ports: asked for by name, taken by default, or found free."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from abono.dev import ports
from abono.dev.errors import DevError, PortBusy


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind((ports.LOCALHOST, 0))
        listener.listen()
        yield listener.getsockname()[1]


def choose(**environment: str) -> dict[str, int]:
    with ports.claimed_ports(environment) as chosen:
        return chosen


def test_a_busy_port_that_was_asked_for_is_one_clear_line(busy_port: int) -> None:
    with pytest.raises(PortBusy) as caught:
        choose(ABONO_API_PORT=str(busy_port))
    assert f"Port {busy_port} (ABONO_API_PORT) is already in use." in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_busy_default_is_replaced(busy_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ports.DEFAULT_PORTS, "api", busy_port)
    chosen = choose()
    assert chosen["api"] != busy_port
    assert len(set(chosen.values())) == len(ports.DEFAULT_PORTS)


def test_a_port_that_was_asked_for_is_not_given_to_another() -> None:
    usual = ports.DEFAULT_PORTS["api"]
    if not ports.is_free(usual):
        pytest.skip("somebody uses the API's usual port")
    chosen = choose(ABONO_SANDBOX_PORT=str(usual))
    assert chosen["sandbox"] == usual
    assert chosen["api"] != usual


@pytest.mark.parametrize("text", ["abc", "0", "70000", "-1", "80.5"])
def test_what_is_not_a_port_is_refused_with_the_name_of_its_variable(text: str) -> None:
    with pytest.raises(DevError, match="ABONO_POSTGRES_PORT"):
        choose(ABONO_POSTGRES_PORT=text)


def test_one_port_for_two_is_refused() -> None:
    with pytest.raises(DevError, match="ABONO_API_PORT and ABONO_SANDBOX_PORT"):
        choose(ABONO_API_PORT="25001", ABONO_SANDBOX_PORT="25001")


def test_two_stacks_that_start_together_do_not_choose_the_same() -> None:
    """Neither listens yet, so every port still looks free to the other."""
    with ports.claimed_ports({}) as one, ports.claimed_ports({}) as other:
        assert not set(one.values()) & set(other.values())
        taken = {"ABONO_API_PORT": str(one["api"])}
        with pytest.raises(PortBusy):
            ports.claimed_ports(taken).__enter__()
