"""What the children are told, and what a command finds of a running stack."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from abono.dev.environment import wire
from abono.dev.info import StackInfo, load_settings, write_info
from abono.dev.ports import DEFAULT_PORTS
from abono.dev.sandbox import config_from

DATABASE_URL = "postgresql://postgres@127.0.0.1:5433/abono"


def test_without_keys_both_sides_of_the_sandbox_agree(tmp_path: Path) -> None:
    wiring = wire(tmp_path, DEFAULT_PORTS, DATABASE_URL, {})
    config = config_from(wiring.sandbox)
    assert wiring.shared["STRIPE_API_KEY"] == config.stripe_api_key
    assert wiring.shared["STRIPE_API_BASE"] == "http://127.0.0.1:8090/stripe"
    assert wiring.shared["STRIPE_WEBHOOK_SECRET"] == config.stripe_webhook_secret
    assert wiring.shared["CONEKTA_API_KEY"] == config.conekta_api_key
    assert config.webhook_base_url == "http://127.0.0.1:8080/api/v1/webhooks"
    assert config.state_file == tmp_path / "sandbox.json"
    assert config.conekta_private_key_pem is not None
    private = serialization.load_pem_private_key(config.conekta_private_key_pem.encode(), None)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert wiring.shared["CONEKTA_WEBHOOK_PUBLIC_KEYS"] == public.decode().strip()
    assert wiring.warnings == []


def test_the_webhook_key_is_made_once_and_private(tmp_path: Path) -> None:
    first = wire(tmp_path, DEFAULT_PORTS, DATABASE_URL, {})
    again = wire(tmp_path, DEFAULT_PORTS, DATABASE_URL, {})
    assert first.shared == again.shared
    assert (tmp_path / "conekta_webhook_key.pem").stat().st_mode & 0o777 == 0o600


def test_a_persons_own_key_is_left_alone_and_said_loudly(tmp_path: Path) -> None:
    person = {"STRIPE_API_KEY": "sk_live_mine", "STRIPE_WEBHOOK_SECRET": "whsec_mine"}
    wiring = wire(tmp_path, DEFAULT_PORTS, DATABASE_URL, person)
    assert not [name for name in wiring.shared if name.startswith("STRIPE_")]
    assert "CONEKTA_API_KEY" in wiring.shared
    (warning,) = wiring.warnings
    assert "NOT simulated" in warning
    assert "sk_live_mine" not in warning


def test_a_secret_without_a_key_is_what_the_sandbox_signs_with(tmp_path: Path) -> None:
    person = {"STRIPE_WEBHOOK_SECRET": "whsec_new,whsec_old"}
    wiring = wire(tmp_path, DEFAULT_PORTS, DATABASE_URL, person)
    assert wiring.shared["STRIPE_WEBHOOK_SECRET"] == "whsec_new,whsec_old"
    assert config_from(wiring.sandbox).stripe_webhook_secret == "whsec_new"


def test_settings_come_from_the_environment_then_from_the_running_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_info(tmp_path, make_info())
    monkeypatch.setenv("ABONO_HOME", str(tmp_path))
    monkeypatch.setenv("TEMPORAL_ADDRESS", "temporal.example:7233")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    settings = load_settings()
    assert settings.database_url == DATABASE_URL
    assert settings.temporal_address == "temporal.example:7233"
    assert settings.home == tmp_path


def test_dev_json_is_for_its_owner_alone(tmp_path: Path) -> None:
    write_info(tmp_path, make_info())
    assert (tmp_path / "dev.json").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["dev.json"]


def make_info() -> StackInfo:
    return StackInfo(
        api_url="http://127.0.0.1:8080",
        api_key="abk_one",
        admin_api_key="abk_two",
        database_url=DATABASE_URL,
        temporal_address="127.0.0.1:7233",
        temporal_namespace="default",
        temporal_ui_url="http://127.0.0.1:8233",
        sandbox_url="http://127.0.0.1:8090",
    )
