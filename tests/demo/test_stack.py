"""Whose accounts the story may touch: nobody's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from abono.demo.stack import Stage, refuse_real_providers, restarted, without_own_keys
from abono.dev.errors import DevError
from abono.dev.info import StackInfo, environment_file, write_info

INFO = StackInfo("", "", "", "", "", "", "", "http://127.0.0.1:8090")
SIMULATED = {
    "STRIPE_API_BASE": "http://127.0.0.1:8090/stripe",
    "CONEKTA_API_BASE": "http://127.0.0.1:8090/conekta",
}


def told(home: Path, environment: dict[str, str]) -> Path:
    file = environment_file(home)
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(environment))
    return home


def test_own_keys_are_left_at_home() -> None:
    kept = without_own_keys({"PATH": "/bin", "STRIPE_API_KEY": "sk", "CONEKTA_API_BASE": "x"})
    assert kept == {"PATH": "/bin"}


def test_a_simulated_stack_may_be_played_on(tmp_path: Path) -> None:
    refuse_real_providers(told(tmp_path, SIMULATED), INFO)


@pytest.mark.parametrize("provider", ["STRIPE", "CONEKTA"])
def test_a_real_account_is_refused(tmp_path: Path, provider: str) -> None:
    environment = {n: v for n, v in SIMULATED.items() if not n.startswith(provider)}
    with pytest.raises(DevError, match=f"your own {provider.capitalize()} account"):
        refuse_real_providers(told(tmp_path, environment), INFO)


def test_what_was_killed_is_named(tmp_path: Path) -> None:
    before = Stage(tmp_path, replace(INFO, pids={"worker": 1, "api": 2}), own=False)
    write_info(tmp_path, before.info)
    assert restarted(before) == []
    write_info(tmp_path, replace(INFO, pids={"worker": 3, "api": 2}))
    assert restarted(before) == ["worker"]
