"""The composition root: from settings to providers and a Temporal client."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr
from temporalio.client import Client, Interceptor
from temporalio.runtime import Runtime
from temporalio.service import TLSConfig

from abono.correlation import Correlation
from abono.payload_codec import data_converter
from abono.settings import Settings
from models.outcomes import ProviderName
from providers.protocol import PaymentProvider
from providers.registry import ProviderRegistry

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from starlette.types import ASGIApp


def build_providers(settings: Settings) -> ProviderRegistry:
    """Adapters for the providers that have a key; an SDK is imported only when it is needed."""
    providers: dict[ProviderName, PaymentProvider] = {}
    if settings.stripe_api_key is not None:
        from providers.stripe import StripeProvider

        providers[ProviderName.STRIPE] = StripeProvider(
            api_key=settings.stripe_api_key.get_secret_value(),
            api_base=settings.stripe_api_base,
            webhook_secrets=_secrets(settings.stripe_webhook_secret),
            timeout_seconds=settings.provider_timeout_seconds,
        )
    if settings.conekta_api_key is not None:
        from providers.conekta import ConektaProvider

        providers[ProviderName.CONEKTA] = ConektaProvider(
            api_key=settings.conekta_api_key.get_secret_value(),
            api_base=settings.conekta_api_base,
            webhook_public_keys=settings.conekta_webhook_public_keys,
            webhook_secrets=_secrets(settings.conekta_webhook_secret),
            timeout_seconds=settings.provider_timeout_seconds,
            version_header=settings.conekta_version_header,
        )
    if settings.polar_api_key is not None:
        from providers.polar import PolarProvider

        providers[ProviderName.POLAR] = PolarProvider(
            api_key=settings.polar_api_key.get_secret_value(),
            api_base=settings.polar_api_base,
            webhook_secrets=_secrets(settings.polar_webhook_secret),
            relay_secrets=_secrets(settings.polar_relay_secret),
            timeout_seconds=settings.provider_timeout_seconds,
            default_currency=settings.polar_default_currency,
        )
    return ProviderRegistry(providers)


def call_rates(settings: Settings) -> dict[ProviderName, float]:
    """Calls per second that each provider gets, over all workers together."""
    return {
        ProviderName.STRIPE: settings.stripe_calls_per_second,
        ProviderName.CONEKTA: settings.conekta_calls_per_second,
        ProviderName.POLAR: settings.polar_calls_per_second,
    }


async def connect_temporal(
    settings: Settings,
    *,
    lazy: bool = True,
    runtime: Runtime | None = None,
    interceptors: Sequence[Interceptor] = (),
) -> Client:
    """A client with the converter that every process shares. `lazy` connects on first use, so that
    the API starts, and accepts webhooks, while Temporal is away. `runtime` exports figures.
    `interceptors` come to the one that carries the ids of log lines."""
    return await Client.connect(
        settings.temporal_address,
        namespace=settings.temporal_namespace,
        data_converter=data_converter(settings.payload_key_ring),
        tls=_tls(settings),
        api_key=settings.temporal_api_key.get_secret_value() if settings.temporal_api_key else None,
        lazy=lazy,
        runtime=runtime,
        interceptors=[Correlation(), *interceptors],
    )


@dataclass(frozen=True)
class Tracing:
    """What a process that is traced adds to its parts; without a provider, nothing."""

    provider: TracerProvider | None = None
    interceptors: Sequence[Interceptor] = ()

    def around(self, app: ASGIApp) -> ASGIApp:
        if self.provider is None:
            return app
        from abono.tracing import TracedApp

        return TracedApp(app, self.provider)

    async def aclose(self) -> None:
        """Send the last spans; a collector that is away is waited for some seconds."""
        if self.provider is not None:
            await asyncio.to_thread(self.provider.shutdown)


def begin_tracing(settings: Settings, service: str) -> Tracing:
    """Once in a process. The SDK is imported only when somebody takes traces."""
    if not settings.traced:
        return Tracing()
    from abono.tracing import start_tracing
    from abono.workflow_tracing import tracing_interceptor

    provider = start_tracing(service)
    return Tracing(provider, [tracing_interceptor(provider)])


def _tls(settings: Settings) -> TLSConfig | bool:
    if not settings.temporal_tls and settings.temporal_tls_cert is None:
        return settings.temporal_api_key is not None
    return TLSConfig(
        server_root_ca_cert=_read(settings.temporal_tls_ca),
        client_cert=_read(settings.temporal_tls_cert),
        client_private_key=_read(settings.temporal_tls_key),
    )


def _read(path: Path | None) -> bytes | None:
    return path.read_bytes() if path is not None else None


def _secrets(value: SecretStr | None) -> list[str]:
    """A comma list: the old and the new secret side by side while one is rotated."""
    if value is None:
        return []
    return [part.strip() for part in value.get_secret_value().split(",") if part.strip()]
