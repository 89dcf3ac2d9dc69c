"""What may be sent. Unknown fields are refused: a misspelt option must not be silently ignored."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar
from uuid import UUID

import pycountry
from email_validator import EmailNotValidError, validate_email
from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    IPvAnyAddress,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from api.billing_policy import BillingPolicyInput
from api.problems import CombinationError, FieldError
from models.calendar import BillingInterval, check_time_zone
from models.commands import PauseAt
from models.money import CURRENCIES
from models.outcomes import Instrument, ProviderName
from models.plan_change import Proration
from models.routing import TransactionType

_COUNTRIES = frozenset(country.alpha_2 for country in pycountry.countries)
# The largest amount that any of the providers takes: Stripe allows 12 digits for some currencies.
AMOUNT_MINOR_MAX = 999_999_999_999
TRIAL_DAYS_MAX = 90
QUANTITY_MAX = 1_000_000
_METADATA_KEYS_MAX = 50
_LIST_MAX = 100
# The largest integer that every reader of JSON holds exactly (RFC 8259, 6): many read doubles.
_COUNT_MAX = 2**53 - 1

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]")

_Item = TypeVar("_Item")


def _check_country(code: str) -> str:
    if code not in _COUNTRIES:
        raise FieldError("should be an ISO 3166-1 alpha-2 country code in upper case, such as MX")
    return code


def _check_currency(code: str) -> str:
    if code not in CURRENCIES:
        raise FieldError("should be an ISO 4217 currency code in upper case, such as MXN")
    return code


def _check_zone(name: str) -> str:
    try:
        return check_time_zone(name)
    except ValueError:
        raise FieldError("should be an IANA time zone, such as America/Mexico_City") from None


def _check_email(address: str) -> str:
    try:
        return validate_email(address, check_deliverability=False).normalized
    except EmailNotValidError:
        raise FieldError("should be an e-mail address") from None


def _check_url(address: str) -> str:
    AnyHttpUrl(address)
    return address


def _check_moment(text: object) -> object:
    if isinstance(text, str) and not _DATE.match(text):
        raise FieldError("should be a time as RFC 3339 has it, such as 2026-11-22T18:00:00Z")
    if isinstance(text, int | float):
        raise FieldError("should be a text: a time as RFC 3339 has it")
    return text


def _text(longest: int) -> Any:
    # The pattern says in the API's description what stripping means: blanks alone are nothing.
    return StringConstraints(strip_whitespace=True, min_length=1, max_length=longest, pattern=r"\S")


def _format(name: str, **more: Any) -> Any:
    return WithJsonSchema({"type": "string", "format": name, **more})


# No pattern beside the format: `AA` would match it, and whoever generates values would send it.
Country = Annotated[str, AfterValidator(_check_country), _format("iso-3166-alpha-2")]
Currency = Annotated[str, AfterValidator(_check_currency), _format("iso-4217")]
TimeZone = Annotated[str, AfterValidator(_check_zone), _format("iana-time-zone")]
Email = Annotated[
    str,
    StringConstraints(max_length=320),
    AfterValidator(_check_email),
    _format("email", maxLength=320),
]
Url = Annotated[
    str,
    StringConstraints(max_length=2048),
    AfterValidator(_check_url),
    _format("http-url", maxLength=2048),
]
Phone = Annotated[
    str, StringConstraints(strip_whitespace=True, pattern=r"^\+?[0-9][0-9 ().\-]{4,30}$")
]
# Seconds since 1970 are no time here, though pydantic would take them.
Moment = Annotated[AwareDatetime, BeforeValidator(_check_moment)]
Name = Annotated[str, _text(200)]
Line = Annotated[str, _text(500)]
Text = Annotated[str, _text(2000)]
AmountMinor = Annotated[int, Field(strict=True, ge=1, le=AMOUNT_MINOR_MAX)]
Quantity = Annotated[int, Field(strict=True, ge=1, le=QUANTITY_MAX)]
TrialDays = Annotated[int, Field(strict=True, ge=0, le=TRIAL_DAYS_MAX)]
MetadataKey = Annotated[str, _text(40)]
MetadataValue = Annotated[str, StringConstraints(max_length=500)] | int | float | bool | None
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=_METADATA_KEYS_MAX)]


def _example(**values: Any) -> ConfigDict:
    return ConfigDict(extra="forbid", frozen=True, json_schema_extra={"examples": [values]})


class BillingAddress(BaseModel):
    """Where bills go. Its country decides the currency and the provider."""

    model_config = _example(
        line1="Av. Insurgentes Sur 1602", city="Ciudad de México", postal_code="03940", country="MX"
    )

    line1: Line
    line2: Line | None = None
    city: Name | None = None
    state: Name | None = None
    postal_code: Annotated[str, _text(20)] | None = None
    country: Country


class CreateOrganization(BaseModel):
    """The billed customer. `billing_address.country` wins over `country`; without `time_zone`,
    Mexico is billed by Mexico City's clock and everybody else by UTC."""

    model_config = _example(
        external_id="acme-1",
        name="Acme S.A. de C.V.",
        email="pagos@acme.example",
        phone="+525512345678",
        country="MX",
        tax_id="ACM010101AB1",
    )

    external_id: Name | None = None
    name: Name
    email: Email
    phone: Phone | None = None
    country: Country | None = None
    billing_address: BillingAddress | None = None
    tax_id: Annotated[str, _text(50)] | None = None
    time_zone: TimeZone | None = None


def _without_default(schema: dict[str, Any]) -> None:
    del schema["default"]


# What is left out stays as it is; an empty text is no value.
_LEFT_OUT: Any = Field(default="", json_schema_extra=_without_default)


class UpdateOrganization(BaseModel):
    """Only the fields that are sent change. Running subscriptions keep the terms they have."""

    model_config = _example(email="facturas@acme.example")

    name: Name = _LEFT_OUT
    email: Email = _LEFT_OUT
    phone: Phone | None = None
    country: Country | None = None
    billing_address: BillingAddress | None = None
    tax_id: Annotated[str, _text(50)] | None = None
    time_zone: TimeZone = _LEFT_OUT


class PlanPriceInput(BaseModel):
    model_config = _example(currency="MXN", billing_interval="monthly", amount_minor=19900)

    currency: Currency
    billing_interval: BillingInterval
    amount_minor: AmountMinor


def _one_price_each(prices: list[PlanPriceInput]) -> list[PlanPriceInput]:
    kinds = {(price.currency, price.billing_interval) for price in prices}
    if len(kinds) < len(prices):
        raise CombinationError("a currency and interval may have one price only")
    return prices


PlanPrices = Annotated[
    list[PlanPriceInput],
    Field(min_length=1, max_length=_LIST_MAX),
    AfterValidator(_one_price_each),
]
Features = Annotated[list[Name], Field(max_length=_LIST_MAX)]
Limits = Annotated[
    dict[Name, Annotated[int, Field(strict=True, ge=0, le=_COUNT_MAX)]], Field(max_length=_LIST_MAX)
]


class CreatePlan(BaseModel):
    """A plan with at most one price for each currency and interval."""

    model_config = _example(
        name="Pro",
        description="For teams",
        prices=[
            {"currency": "MXN", "billing_interval": "monthly", "amount_minor": 19900},
            {"currency": "USD", "billing_interval": "monthly", "amount_minor": 1200},
        ],
        features=["Priority support"],
        limits={"seats": 10},
        trial_days=14,
        billing_policy={"retry_after_days": [2, 3, 5], "on_unpaid": "pause"},
    )

    name: Name
    description: Text | None = None
    prices: PlanPrices
    features: Features = []
    limits: Limits = {}
    trial_days: TrialDays = 0
    billing_policy: BillingPolicyInput = BillingPolicyInput()


class UpdatePlan(BaseModel):
    """Only the fields that are sent change, each as a whole: `prices` is the list from now on. Running
    subscriptions keep the price, the trial and the billing policy that they agreed to; `features` and
    `limits` are everybody's at once. `is_active: false` takes the plan off sale, and `true` puts it back."""

    model_config = _example(
        prices=[{"currency": "MXN", "billing_interval": "monthly", "amount_minor": 24900}]
    )

    name: Name = _LEFT_OUT
    description: Text | None = None
    prices: PlanPrices = Field(default=[], json_schema_extra=_without_default)
    features: Features = Field(default=[], json_schema_extra=_without_default)
    limits: Limits = Field(default={}, json_schema_extra=_without_default)
    trial_days: TrialDays = Field(default=0, json_schema_extra=_without_default)
    billing_policy: BillingPolicyInput = Field(
        default=BillingPolicyInput(), json_schema_extra=_without_default
    )
    is_active: bool = Field(default=True, strict=True, json_schema_extra=_without_default)


class AddPaymentMethod(BaseModel):
    """`token` is what the provider's browser library made of the card. Never a card number."""

    model_config = _example(
        organization_id="01890a5d-ac96-774b-bcce-b302099a8057",
        provider="stripe",
        token="pm_card_visa",  # noqa: S106 - an example
        set_as_default=True,
    )

    organization_id: UUID
    provider: ProviderName | None = None
    token: Annotated[str, _text(500)]
    type: Instrument = Instrument.CARD
    billing_address: BillingAddress | None = None
    set_as_default: bool = False


class CreateSubscription(BaseModel):
    """Without `payment_method_id`, a card subscription uses the organization's default card."""

    model_config = _example(
        organization_id="01890a5d-ac96-774b-bcce-b302099a8057",
        plan_id="01890a5d-ac96-774b-bcce-b302099a8058",
        billing_interval="monthly",
        payment_method_type="oxxo",
        metadata={"order": "8412"},
    )

    organization_id: UUID
    plan_id: UUID
    billing_interval: BillingInterval
    quantity: Quantity = 1
    payment_method_id: UUID | None = None
    payment_method_type: Instrument | None = None
    trial_days: TrialDays | None = None
    force_provider: ProviderName | None = None
    billing_address: BillingAddress | None = None
    ip_address: IPvAnyAddress | None = None
    success_url: Url | None = None
    metadata: Metadata = {}


class PauseRequest(BaseModel):
    """`period_end`: it goes on being active until what was paid for ends. Nothing is billed either way."""

    model_config = _example(at="period_end", resume_at="2027-02-01T00:00:00Z")

    at: PauseAt = PauseAt.NOW
    resume_at: Moment | None = None


class SetPaymentMethodRequest(BaseModel):
    model_config = _example(payment_method_id="01890a5d-ac96-774b-bcce-b302099a8059")

    payment_method_id: UUID


class ChangeSubscription(BaseModel):
    """What is not named stays. `proration`: `prorate` settles the difference now, by the second;
    `none` changes now and bills the new price from the next period on; `next_period` changes with it.
    `proration_date` is the `at` of a preview: the change then costs exactly what was previewed. Naming
    what there is already takes a pending change back."""

    model_config = _example(plan_id="01890a5d-ac96-774b-bcce-b302099a8058", quantity=5)

    plan_id: UUID | None = None
    billing_interval: BillingInterval | None = None
    quantity: Quantity | None = None
    proration: Proration = Proration.PRORATE
    proration_date: Moment | None = None

    @model_validator(mode="after")
    def _something(self) -> ChangeSubscription:
        if self.plan_id is None and self.billing_interval is None and self.quantity is None:
            raise CombinationError("name a plan_id, a billing_interval or a quantity")
        return self


class RetryPaymentRequest(BaseModel):
    model_config = _example(payment_method_id="01890a5d-ac96-774b-bcce-b302099a8059")

    payment_method_id: UUID | None = None


class PreviewRouting(BaseModel):
    """What would be decided for a subscription or purchase like this one. The billing address wins
    over the organization's country, and that over the IP address. Without `currency` it is what the
    country pays in."""

    model_config = _example(
        transaction_type="subscription", ip_address="187.141.0.1", payment_method_type="oxxo"
    )

    transaction_type: TransactionType = TransactionType.SUBSCRIPTION
    organization_id: UUID | None = None
    billing_address: BillingAddress | None = None
    ip_address: IPvAnyAddress | None = None
    payment_method_type: Instrument | None = None
    payment_method_id: UUID | None = None
    currency: Currency | None = None
    force_provider: ProviderName | None = None
