"""Runs the HTTP API: settings in, a served application out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import uvicorn
import uvloop
from starlette.types import ASGIApp
from temporalio.client import Interceptor

from abono.long_lived import keep_what_is_loaded
from abono.settings import Settings
from abono.wiring import begin_tracing, build_providers, connect_temporal
from api.app import create_app
from api.context import ApiContext, Retention
from api.outbound.sender import Sender
from api.storefront import Storefront
from models.outcomes import ProviderName
from models.storage.engine import make_engine, make_sessions
from providers.geolocation import Geolocator, IpApi, IpapiCo, WebService

# Longer than the longest POST (10 s): what was begun is answered before the process goes.
SHUTDOWN_SECONDS = 12
# Said instead of an address: this service is never asked.
OFF = "off"


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; requests in flight are answered first."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings))
    except KeyboardInterrupt:
        return


async def _serve(settings: Settings) -> None:
    tracing = begin_tracing(settings, "abono-api")
    try:
        app = create_app(await make_context(settings, tracing.interceptors))
        server = uvicorn.Server(server_config(settings, tracing.around(app)))
        keep_what_is_loaded()
        await server.serve()
    finally:
        await tracing.aclose()


def server_config(settings: Settings, app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.api_host,
        port=settings.api_port,
        log_config=None,  # Logging is set up by whoever runs this.
        access_log=False,  # The API writes its own, without anything that a caller sent.
        server_header=False,
        # uvicorn's own would believe X-Forwarded-For from this machine; ours asks who may say it.
        proxy_headers=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )


async def make_context(settings: Settings, interceptors: Sequence[Interceptor] = ()) -> ApiContext:
    """The context that these settings describe; neither PostgreSQL nor Temporal has to be there."""
    engine = make_engine(settings.sqlalchemy_url, pool_size=settings.database_pool_size)
    providers = build_providers(settings)
    storefront = build_storefront(settings)
    sender = Sender(allow_private=settings.outbound_allow_private)
    return ApiContext(
        sessions=make_sessions(engine),
        temporal=await connect_temporal(settings, lazy=True, interceptors=interceptors),
        providers=providers,
        pepper=settings.api_key_pepper.get_secret_value(),
        body_max_bytes=settings.body_max_bytes,
        trusted_hosts=settings.trusted_hosts,
        hsts_seconds=settings.hsts_seconds,
        requests_per_minute=settings.requests_per_minute,
        retention=_retention(settings),
        storefront=storefront,
        sender=sender,
        closers=[
            providers.aclose,
            storefront.geolocator.aclose,
            sender.aclose,
            engine.dispose,
        ],
    )


def _retention(settings: Settings) -> Retention:
    payloads, deliveries = settings.payload_retention_days, settings.delivery_log_retention_days
    return Retention(
        idempotency=timedelta(hours=settings.idempotency_retention_hours),
        payloads=timedelta(days=payloads) if payloads else None,
        deliveries=timedelta(days=deliveries) if deliveries else None,
    )


def build_storefront(settings: Settings) -> Storefront:
    keys = {
        ProviderName.STRIPE: settings.stripe_publishable_key,
        ProviderName.CONEKTA: settings.conekta_public_key,
    }
    services: list[WebService] = []
    if settings.geo_ipapi_base != OFF:
        services.append(IpapiCo(settings.geo_ipapi_base, settings.geo_ipapi_key))
    if settings.geo_ip_api_base != OFF:
        services.append(IpApi(settings.geo_ip_api_base, settings.geo_ip_api_key))
    return Storefront(
        geolocator=Geolocator(settings.geoip_database, services),
        trusted_proxies=settings.trusted_proxies,
        public_keys={name: key for name, key in keys.items() if key},
    )
