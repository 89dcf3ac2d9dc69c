"""From the environment to an adapter: with a key, without one, and in the development stack."""

from __future__ import annotations

from pathlib import Path

import pytest

from abono.dev.environment import wire
from abono.dev.ports import DEFAULT_PORTS
from abono.dev.sandbox import config_from
from abono.settings import Settings
from abono.wiring import build_providers
from models.outcomes import ProviderName
from providers.polar import PolarProvider

DATABASE_URL = "postgresql://postgres@127.0.0.1:5433/abono"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POLAR_API_KEY", "POLAR_API_BASE", "POLAR_WEBHOOK_SECRET"):
        monkeypatch.delenv(name, raising=False)


async def test_without_a_key_there_is_no_polar() -> None:
    registry = build_providers(Settings())
    assert registry.get(ProviderName.POLAR) is None
    await registry.aclose()


async def test_with_a_key_there_is() -> None:
    registry = build_providers(
        Settings(
            POLAR_API_KEY="polar_oat_mine",
            POLAR_WEBHOOK_SECRET="whsec_bmV3,whsec_b2xk",
            ABONO_POLAR_RELAY_SECRET="relay",
            ABONO_POLAR_DEFAULT_CURRENCY="EUR",
        )
    )
    assert isinstance(registry.get(ProviderName.POLAR), PolarProvider)
    await registry.aclose()


def test_both_sides_of_the_sandbox_agree(tmp_path: Path) -> None:
    wiring = wire(tmp_path, DEFAULT_PORTS, DATABASE_URL, {})
    config = config_from(wiring.sandbox)
    assert wiring.shared["POLAR_API_KEY"] == config.polar_access_token
    assert wiring.shared["POLAR_API_BASE"] == "http://127.0.0.1:8090/polar"
    assert wiring.shared["POLAR_WEBHOOK_SECRET"] == config.polar_webhook_secret


def test_a_persons_own_key_is_left_alone(tmp_path: Path) -> None:
    person = {"POLAR_API_KEY": "polar_oat_mine"}
    wiring = wire(tmp_path, DEFAULT_PORTS, DATABASE_URL, person)
    assert not [name for name in wiring.shared if name.startswith("POLAR_")]
    assert "Polar is NOT simulated" in wiring.warnings[0]
