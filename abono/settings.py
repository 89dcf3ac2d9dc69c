"""Every setting, read once from the environment. Missing provider keys never stop the start."""

from __future__ import annotations

from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from abono.payload_keys import parse_keys

Network = IPv4Network | IPv6Network

# As long as answers to idempotency keys, and twice as long as a delivery is tried.
DELIVERY_LOG_DAYS_MIN = 7


class Settings(BaseSettings):
    """Environment variables without a provider's name start with `ABONO_`, bar the usual ones."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        extra="ignore",
        hide_input_in_errors=True,  # A secret with a slip of the pen is still one.
    )

    database_url: str = Field(
        "postgresql://postgres@127.0.0.1:5432/abono",
        alias="DATABASE_URL",
        description="PostgreSQL, as postgresql://user:password@host:port/name",
    )
    database_pool_size: int = Field(10, alias="ABONO_DATABASE_POOL_SIZE", ge=1)

    temporal_address: str = Field("127.0.0.1:7233", alias="TEMPORAL_ADDRESS")
    temporal_namespace: str = Field("default", alias="TEMPORAL_NAMESPACE")
    temporal_api_key: SecretStr | None = Field(None, alias="TEMPORAL_API_KEY")
    temporal_tls: bool = Field(False, alias="TEMPORAL_TLS")
    temporal_tls_cert: Path | None = Field(None, alias="TEMPORAL_TLS_CLIENT_CERT_PATH")
    temporal_tls_key: Path | None = Field(None, alias="TEMPORAL_TLS_CLIENT_KEY_PATH")
    temporal_tls_ca: Path | None = Field(None, alias="TEMPORAL_TLS_SERVER_CA_CERT_PATH")

    payload_keys: SecretStr | None = Field(
        None,
        alias="ABONO_PAYLOAD_KEYS",
        description="name:base64 of 32 bytes, a comma list; the first encrypts what Temporal keeps",
    )
    codec_host: str = Field("127.0.0.1", alias="ABONO_CODEC_HOST")
    codec_port: int = Field(8234, alias="ABONO_CODEC_PORT")
    codec_ui_origin: str = Field(
        "http://127.0.0.1:8233",
        alias="ABONO_CODEC_UI_ORIGIN",
        description="Where the Temporal UI is, as a browser calls it",
    )

    stripe_api_key: SecretStr | None = Field(None, alias="STRIPE_API_KEY")
    stripe_webhook_secret: SecretStr | None = Field(
        None, alias="STRIPE_WEBHOOK_SECRET", description="Comma list while a secret is rotated"
    )
    stripe_api_base: str | None = Field(None, alias="STRIPE_API_BASE")

    conekta_api_key: SecretStr | None = Field(None, alias="CONEKTA_API_KEY")
    conekta_webhook_public_keys: str | None = Field(
        None, alias="CONEKTA_WEBHOOK_PUBLIC_KEYS", description="PEM, several one after the other"
    )
    conekta_webhook_secret: SecretStr | None = Field(
        None, alias="CONEKTA_WEBHOOK_SECRET", description="HMAC secret of a relay; comma list"
    )
    conekta_api_base: str | None = Field(None, alias="CONEKTA_API_BASE")
    conekta_version_header: str = Field(
        "application/vnd.conekta-v2.3.0+json",
        alias="ABONO_CONEKTA_VERSION_HEADER",
        description="What `Accept` says: APIs that are nearly Conekta's name a version of their own",
        pattern=r"^[\x21-\x7e]+$",
    )

    polar_api_key: SecretStr | None = Field(None, alias="POLAR_API_KEY")
    polar_webhook_secret: SecretStr | None = Field(None, alias="POLAR_WEBHOOK_SECRET")
    polar_api_base: str | None = Field(None, alias="POLAR_API_BASE")
    polar_relay_secret: SecretStr | None = Field(
        None,
        alias="ABONO_POLAR_RELAY_SECRET",
        description="HMAC secret of a relay that signs with X-Polar-Signature; comma list",
    )
    polar_default_currency: str = Field(
        "USD",
        alias="ABONO_POLAR_DEFAULT_CURRENCY",
        description="The organization's default currency at Polar",
    )

    stripe_publishable_key: str | None = Field(
        None, alias="STRIPE_PUBLISHABLE_KEY", description="Made for browsers: pk_…"
    )
    conekta_public_key: str | None = Field(
        None, alias="CONEKTA_PUBLIC_KEY", description="Made for browsers: key_…"
    )

    geoip_database: Path | None = Field(
        None, alias="GEOIP_DATABASE", description="A country database in MaxMind's format (.mmdb)"
    )
    geo_ipapi_base: str = Field(
        "https://ipapi.co", alias="ABONO_GEO_IPAPI_BASE", description="`off`: it is never asked"
    )
    geo_ipapi_key: SecretStr | None = Field(None, alias="ABONO_GEO_IPAPI_KEY")
    geo_ip_api_base: str = Field(
        "http://ip-api.com",
        alias="ABONO_GEO_IP_API_BASE",
        description="https://pro.ip-api.com with a key; `off`: it is never asked",
    )
    geo_ip_api_key: SecretStr | None = Field(None, alias="ABONO_GEO_IP_API_KEY")
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = Field(
        (),
        alias="ABONO_TRUSTED_PROXIES",
        description="Networks whose X-Forwarded-For is believed: 10.0.0.0/8, 2001:db8::/32",
    )

    # One call is one activity: up to six requests, most to different endpoints. Stripe takes 25 requests
    # a second per endpoint, Polar 500 a minute, and Conekta publishes no number.
    stripe_calls_per_second: float = Field(
        20.0, alias="ABONO_STRIPE_CALLS_PER_SECOND", gt=0, allow_inf_nan=False
    )
    conekta_calls_per_second: float = Field(
        10.0, alias="ABONO_CONEKTA_CALLS_PER_SECOND", gt=0, allow_inf_nan=False
    )
    polar_calls_per_second: float = Field(
        2.0, alias="ABONO_POLAR_CALLS_PER_SECOND", gt=0, allow_inf_nan=False
    )
    provider_timeout_seconds: float = Field(8.0, alias="ABONO_PROVIDER_TIMEOUT_SECONDS", gt=0)
    reconcile_every_minutes: int = Field(
        360,
        alias="ABONO_RECONCILE_EVERY_MINUTES",
        ge=0,
        description="How often the providers' books are compared with ours; 0: never by itself",
    )
    api_host: str = Field("127.0.0.1", alias="ABONO_API_HOST")
    api_port: int = Field(8080, alias="ABONO_API_PORT")
    api_key_pepper: SecretStr = Field(
        SecretStr("abono-development-pepper"),
        alias="ABONO_API_KEY_PEPPER",
        description="Secret under which API keys are hashed at rest; set your own in production",
    )
    outbound_allow_private: bool = Field(
        False,
        alias="ABONO_OUTBOUND_ALLOW_PRIVATE",
        description="Webhook endpoints of applications may be on private networks and without TLS",
    )
    body_max_bytes: int = Field(1_048_576, alias="ABONO_BODY_MAX_BYTES", ge=1024)
    trusted_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        alias="ABONO_TRUSTED_HOSTS",
        description="Names in the Host header that the API answers to; none: any",
    )
    requests_per_minute: int = Field(
        6000,
        alias="ABONO_REQUESTS_PER_MINUTE",
        ge=0,
        description="What a key may ask of one API process; 0: as much as it likes",
    )
    hsts_seconds: int = Field(31_536_000, alias="ABONO_HSTS_SECONDS", ge=0)
    idempotency_retention_hours: int = Field(
        168, alias="ABONO_IDEMPOTENCY_RETENTION_HOURS", ge=24, le=87_600
    )
    payload_retention_days: int = Field(
        90,
        alias="ABONO_PAYLOAD_RETENTION_DAYS",
        ge=0,
        le=36_500,
        description="How long webhooks are kept as they were received; 0: for ever",
    )
    delivery_log_retention_days: int = Field(
        90,
        alias="ABONO_DELIVERY_LOG_RETENTION_DAYS",
        ge=0,
        le=36_500,
        description="How long what an application was told is kept; 0: for ever, else at least 7",
    )
    worker_metrics_host: str = Field("127.0.0.1", alias="ABONO_WORKER_METRICS_HOST")
    worker_metrics_port: int = Field(
        0,
        alias="ABONO_WORKER_METRICS_PORT",
        ge=0,
        le=65535,
        description="Where the worker tells its figures; 0: nowhere",
    )
    # Slots and pollers are of each queue that a process serves. Two is the least that Temporal's SDK takes
    # for workflow tasks: one for what it remembers, one for what is new.
    worker_workflow_slots: int = Field(100, alias="ABONO_WORKER_WORKFLOW_SLOTS", ge=2, le=10_000)
    worker_activity_slots: int = Field(100, alias="ABONO_WORKER_ACTIVITY_SLOTS", ge=1, le=10_000)
    worker_local_activity_slots: int = Field(
        100, alias="ABONO_WORKER_LOCAL_ACTIVITY_SLOTS", ge=1, le=10_000
    )
    worker_pollers_max: int = Field(
        100,
        alias="ABONO_WORKER_POLLERS_MAX",
        ge=2,
        le=1000,
        description="Open requests for work, of each kind; their number follows the load up to this",
    )
    # Five for each of the two slots that there are at the least (abono/worker_tuning.py).
    worker_cached_workflows_max: int = Field(
        1000,
        alias="ABONO_WORKER_CACHED_WORKFLOWS_MAX",
        ge=10,
        le=1_000_000,
        description="Workflows that stay in memory, a fifth of which may work at once; the others are "
        "replayed when something happens",
    )
    worker_shutdown_seconds: float = Field(
        15.0,
        alias="ABONO_WORKER_SHUTDOWN_SECONDS",
        gt=0,
        le=3600,
        allow_inf_nan=False,
        description="What is under way gets so long after SIGTERM",
    )
    otlp_endpoint: str | None = Field(
        None,
        alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="Where traces go, by OTLP over HTTP; without it there are none",
    )
    otlp_traces_endpoint: str | None = Field(
        None,
        alias="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        description="The same with its whole path: http://collector.example:4318/v1/traces",
    )
    log_level: str = Field("INFO", alias="ABONO_LOG_LEVEL")
    log_format: Literal["auto", "json", "text"] = Field(
        "auto",
        alias="ABONO_LOG_FORMAT",
        description="`auto`: text in a terminal, JSON lines elsewhere",
    )
    home: Path = Field(Path(".abono"), alias="ABONO_HOME")

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _split_networks(cls, value: object) -> object:
        """A comma list; a single address is a network of one."""
        if not isinstance(value, str):
            return value
        parts = [part.strip() for part in value.split(",") if part.strip()]
        return tuple(ip_network(part, strict=False) for part in parts)

    @field_validator("delivery_log_retention_days")
    @classmethod
    def _outlive_a_retry(cls, days: int) -> int:
        """What is told twice is known by what is kept, and whoever reads the list needs time."""
        if 0 < days < DELIVERY_LOG_DAYS_MIN:
            raise ValueError(f"0 (for ever), or at least {DELIVERY_LOG_DAYS_MIN} days")
        return days

    @field_validator("payload_keys")
    @classmethod
    def _check_keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parse_keys(value.get_secret_value())
        return value

    @property
    def traced(self) -> bool:
        """Whether somebody takes traces."""
        return bool(self.otlp_endpoint or self.otlp_traces_endpoint)

    @cached_property
    def payload_key_ring(self) -> dict[str, bytes]:
        """By name, the one to encrypt with first; empty when nothing is encrypted."""
        return parse_keys(self.payload_keys.get_secret_value()) if self.payload_keys else {}

    @field_validator("trusted_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: object) -> object:
        """A comma list; names of hosts know no upper case."""
        if not isinstance(value, str):
            return value
        return tuple(part.strip().lower() for part in value.split(",") if part.strip())

    @cached_property
    def sqlalchemy_url(self) -> str:
        """`database_url` with the async driver that SQLAlchemy needs to be told."""
        scheme, separator, rest = self.database_url.partition("://")
        if scheme in {"postgres", "postgresql"}:
            scheme = "postgresql+asyncpg"
        return f"{scheme}{separator}{rest}"
