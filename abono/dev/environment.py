"""The environment of the stack's children: where everything is, and whose provider keys are used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from abono.dev.ports import LOCALHOST
from abono.dev.sandbox import SANDBOX_PREFIX, webhook_key_pair
from sandbox.core import SandboxConfig

# Of other Temporal servers: a dev server takes neither TLS nor a key. Empty means unset (Settings).
_NOT_FOR_DEV_SERVER = (
    "TEMPORAL_API_KEY",
    "TEMPORAL_TLS",
    "TEMPORAL_TLS_CLIENT_CERT_PATH",
    "TEMPORAL_TLS_CLIENT_KEY_PATH",
    "TEMPORAL_TLS_SERVER_CA_CERT_PATH",
)
_WEBHOOK_BASE_URL = SANDBOX_PREFIX + "WEBHOOK_BASE_URL"
# How the sandbox calls the key of a provider.
_KEY_SUFFIXES = ("_api_key", "_access_token")

# What front ends are told. The simulators never see it: browsers talk to the real providers.
_PUBLIC_KEYS = {
    "STRIPE": ("STRIPE_PUBLISHABLE_KEY", "pk_test_sandbox"),
    "CONEKTA": ("CONEKTA_PUBLIC_KEY", "key_public_sandbox"),
}


@dataclass(frozen=True)
class Wiring:
    """`shared` goes to worker and API, `sandbox` to the sandbox; `warnings` to the person."""

    shared: dict[str, str]
    sandbox: dict[str, str]
    warnings: list[str]


def wire(
    home: Path, ports: Mapping[str, int], database_url: str, person: Mapping[str, str]
) -> Wiring:
    """`person` is the environment the stack was started from: its provider keys win."""
    api_url = f"http://{LOCALHOST}:{ports['api']}"
    sandbox_url = f"http://{LOCALHOST}:{ports['sandbox']}"
    shared = {
        "DATABASE_URL": database_url,
        "TEMPORAL_ADDRESS": f"{LOCALHOST}:{ports['temporal']}",
        "TEMPORAL_NAMESPACE": "default",
        **dict.fromkeys(_NOT_FOR_DEV_SERVER, ""),
        "ABONO_HOME": str(home),
        "ABONO_API_HOST": LOCALHOST,
        "ABONO_API_PORT": str(ports["api"]),
        # Who tries it has the receiver on the same machine.
        "ABONO_OUTBOUND_ALLOW_PRIVATE": person.get("ABONO_OUTBOUND_ALLOW_PRIVATE") or "true",
        # Nothing of a laptop's trials is told to the real services, unless somebody asks for it.
        "ABONO_GEO_IPAPI_BASE": person.get("ABONO_GEO_IPAPI_BASE") or f"{sandbox_url}/geo/ipapi",
        "ABONO_GEO_IP_API_BASE": person.get("ABONO_GEO_IP_API_BASE") or f"{sandbox_url}/geo/ip-api",
    }
    sandbox = {
        SANDBOX_PREFIX + "PORT": str(ports["sandbox"]),
        # A person may put something in between: a tunnel, or a balancer before several processes.
        _WEBHOOK_BASE_URL: person.get(_WEBHOOK_BASE_URL) or f"{api_url}/api/v1/webhooks",
        SANDBOX_PREFIX + "STATE_FILE": str(home / "sandbox.json"),
    }
    warnings = []
    for provider in _simulated_providers():
        own_key = person.get(f"{provider}_API_KEY")
        if own_key and own_key != _sandbox_key(provider):
            warnings.append(_own_key_warning(provider, person))
            continue
        engine, simulator = _provider(provider, home, person)
        if provider in _PUBLIC_KEYS:
            variable, made_up = _PUBLIC_KEYS[provider]
            engine[variable] = person.get(variable) or made_up
        base = f"{sandbox_url}/{provider.lower()}"
        shared |= {f"{provider}_API_BASE": person.get(f"{provider}_API_BASE") or base, **engine}
        sandbox |= simulator
    if person.get("DATABASE_URL"):
        warnings.append("DATABASE_URL is set, and not used here: this stack has its own database.")
    return Wiring(shared, sandbox, warnings)


def _simulated_providers() -> list[str]:
    """Those the sandbox has a key for: STRIPE, CONEKTA, …"""
    names = [field.name for field in fields(SandboxConfig)]
    return [
        name.removesuffix(suffix).upper()
        for name in names
        for suffix in _KEY_SUFFIXES
        if name.endswith(suffix)
    ]


def _default(name: str) -> str:
    return str(next(f.default for f in fields(SandboxConfig) if f.name == name))


def _key_field(provider: str) -> str:
    """The field of the sandbox's key: each provider calls its key by another name."""
    names = {field.name for field in fields(SandboxConfig)}
    return next(n for suffix in _KEY_SUFFIXES if (n := provider.lower() + suffix) in names)


def _sandbox_key(provider: str) -> str:
    return _default(_key_field(provider))


def _provider(
    provider: str, home: Path, person: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """What the engine and what the simulator is told: the same key, webhooks that verify."""
    key = _sandbox_key(provider)
    engine = {f"{provider}_API_KEY": key}
    simulator = {f"{SANDBOX_PREFIX}{_key_field(provider).upper()}": key}
    if provider == "CONEKTA":
        private_pem, public_pem = webhook_key_pair(home / "conekta_webhook_key.pem")
        own = person.get("CONEKTA_WEBHOOK_PUBLIC_KEYS", "")
        engine["CONEKTA_WEBHOOK_PUBLIC_KEYS"] = f"{own}\n{public_pem}".strip()
        simulator[SANDBOX_PREFIX + "CONEKTA_PRIVATE_KEY_PEM"] = private_pem
        return engine, simulator
    variable = f"{provider}_WEBHOOK_SECRET"
    secret = person.get(variable) or _default(variable.lower())
    engine[variable] = secret
    # The engine takes a comma list while a secret is rotated; the simulator signs with the first.
    simulator[SANDBOX_PREFIX + variable] = secret.split(",")[0].strip()
    return engine, simulator


def _own_key_warning(provider: str, person: Mapping[str, str]) -> str:
    name = provider.capitalize()
    base = person.get(f"{provider}_API_BASE")
    where = f"goes to {base}" if base else f"goes to the real {name}"
    return f"{provider}_API_KEY is set: {name} is NOT simulated, every call {where} with your key."
