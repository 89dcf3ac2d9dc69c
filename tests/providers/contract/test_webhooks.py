"""Only what a configured key signed is believed, and nothing that is believed is lost or breaks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from abono.settings import Settings
from abono.wiring import build_providers
from models.events import EventKind
from models.outcomes import Instrument
from providers.capabilities import Capability
from providers.failures import WebhookMalformed, WebhookRejected
from providers.protocol import PaymentProvider
from tests.providers.contract.bench import AMOUNT_MINOR, Bench, nothing_configured
from tests.providers.contract.profiles import PROFILES, Profile, encoded
from tests.providers.contract.schemes import (
    TOLERANCE_SECONDS,
    Scheme,
    secret_of,
    standard_secret_of,
)

EVENT_ID = "evt_1"
# Nothing of ours, in words that every provider has.
SUBJECT = {"id": "obj_1", "object": "customer"}

Case = tuple[Profile, Scheme]
CASES = [(profile, scheme) for profile in PROFILES for scheme in profile.schemes]


@pytest.fixture(params=CASES, ids=lambda case: str(case[1]))
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@asynccontextmanager
async def reader(profile: Profile, **settings: str) -> AsyncIterator[PaymentProvider]:
    """The adapter as the API has it; it opens no connection."""
    values = {**nothing_configured(), **profile.settings, **settings}
    registry = build_providers(Settings.model_validate(values))
    found = registry.get(profile.name)
    assert found is not None
    yield found
    await registry.aclose()


def configured(scheme: Scheme, *keys: str) -> dict[str, str]:
    return {scheme.setting: scheme.configured(keys)}


def event(profile: Profile, event_type: str = "customer.invented") -> bytes:
    return encoded(profile.event(EVENT_ID, event_type, SUBJECT))


def rejected(provider: PaymentProvider, raw: bytes, headers: dict[str, str]) -> None:
    with pytest.raises(WebhookRejected) as caught:
        provider.parse_webhook(raw, headers)
    told = repr(caught.value)
    for key in ("new", "old"):
        assert secret_of(key) not in told
        assert standard_secret_of(key) not in told


async def test_what_was_signed_is_believed(case: Case) -> None:
    profile, scheme = case
    raw = event(profile)
    async with reader(profile, **configured(scheme, "new")) as provider:
        found = provider.parse_webhook(raw, scheme.sign(raw, "new", EVENT_ID, 0))
    assert (found.provider, found.account) == (profile.name, "default")
    assert found.event_type == "customer.invented"
    assert found.kind is EventKind.IGNORED
    assert found.provider_event_id
    assert found.occurred_at.tzinfo is not None


async def test_a_repetition_has_the_same_id_and_another_event_another(case: Case) -> None:
    profile, scheme = case
    raw = event(profile)
    other = encoded(profile.event("evt_2", "customer.invented", {**SUBJECT, "id": "obj_2"}))
    async with reader(profile, **configured(scheme, "new")) as provider:
        ids = [
            provider.parse_webhook(body, scheme.sign(body, "new", id_, age)).provider_event_id
            for body, id_, age in ((raw, EVENT_ID, 60), (raw, EVENT_ID, 0), (other, "evt_2", 0))
        ]
    assert ids[0] == ids[1] != ids[2]


async def test_another_body_is_refused(case: Case) -> None:
    profile, scheme = case
    raw = event(profile)
    headers = scheme.sign(raw, "new", EVENT_ID, 0)
    async with reader(profile, **configured(scheme, "new")) as provider:
        for forged in (event(profile, "invoice.paid"), raw + b" ", raw[:-1], b"", b"\xff\xfe"):
            rejected(provider, forged, headers)


def forgeries(scheme: Scheme, raw: bytes) -> Iterator[dict[str, str]]:
    good = scheme.sign(raw, "new", EVENT_ID, 0)
    header = scheme.signature_header
    yield {}
    yield {name: value for name, value in good.items() if name != header}
    yield scheme.sign(raw, "somebody-elses", EVENT_ID, 0)
    for nonsense in ("", "nonsense", "é", "v1,", "t=1,v1=", "=" * 500, good[header][:-4]):
        yield {**good, header: nonsense}


async def test_another_signature_is_refused(case: Case) -> None:
    profile, scheme = case
    raw = event(profile)
    async with reader(profile, **configured(scheme, "new")) as provider:
        for headers in forgeries(scheme, raw):
            rejected(provider, raw, headers)


@pytest.mark.parametrize("case", [c for c in CASES if c[1].has_time], ids=lambda c: str(c[1]))
async def test_a_stale_one_is_refused(case: Case) -> None:
    profile, scheme = case
    raw = event(profile)
    async with reader(profile, **configured(scheme, "new")) as provider:
        rejected(provider, raw, scheme.sign(raw, "new", EVENT_ID, TOLERANCE_SECONDS + 5))
        almost = scheme.sign(raw, "new", EVENT_ID, TOLERANCE_SECONDS - 30)
        assert provider.parse_webhook(raw, almost).provider_event_id


@pytest.mark.parametrize("value", [None, "", " ", ","])
async def test_without_a_key_everything_is_refused(case: Case, value: str | None) -> None:
    profile, scheme = case
    raw = event(profile)
    settings = {} if value is None else {scheme.setting: value}
    if value == "," and scheme.setting.endswith("PUBLIC_KEYS"):
        with pytest.raises(ValueError, match="PEM"):
            async with reader(profile, **settings):
                pass
        return
    async with reader(profile, **settings) as provider:
        for headers in ({}, scheme.sign(raw, "new", EVENT_ID, 0)):
            rejected(provider, raw, headers)


async def test_only_the_configured_scheme_is_believed(case: Case) -> None:
    profile, scheme = case
    raw = event(profile)
    for other in profile.schemes:
        if other is scheme:
            continue
        async with reader(profile, **configured(other, "new")) as provider:
            rejected(provider, raw, scheme.sign(raw, "new", EVENT_ID, 0))


async def test_while_keys_rotate_nothing_is_lost_and_then_the_old_one_is_dead(case: Case) -> None:
    profile, scheme = case
    sent = [
        (encoded(profile.event(f"evt_{n}", "customer.invented", {**SUBJECT, "n": n})), f"evt_{n}")
        for n in range(6)
    ]
    by_old, by_new = (
        [(raw, scheme.sign(raw, key, id_, 0)) for raw, id_ in part]
        for key, part in (("old", sent[:3]), ("new", sent[3:]))
    )
    for keys in (("new", "old"), ("old", "new")):
        async with reader(profile, **configured(scheme, *keys)) as provider:
            heard = {
                provider.parse_webhook(raw, headers).provider_event_id
                for raw, headers in (*by_old, *by_new)
            }
            assert len(heard) == len(sent)
    async with reader(profile, **configured(scheme, "new")) as provider:
        for raw, headers in by_new:
            provider.parse_webhook(raw, headers)
        for raw, headers in by_old:
            rejected(provider, raw, headers)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"{}"])
async def test_authentic_and_unreadable_is_malformed(case: Case, raw: bytes) -> None:
    """Never anything else; a body that is no text may be refused before that."""
    profile, scheme = case
    async with reader(profile, **configured(scheme, "new")) as provider:
        with pytest.raises((WebhookMalformed, WebhookRejected)) as caught:
            provider.parse_webhook(raw, scheme.sign(raw, "new", EVENT_ID, 0))
        assert caught.type is WebhookMalformed or raw == b"\xff\xfe"


async def test_an_unknown_family_is_ignored_whatever_it_holds(case: Case) -> None:
    profile, scheme = case
    subjects: list[dict[str, Any]] = [{}, {"id": None}, {"deep": [[[{}]]]}, {"id": "x" * 9_999}]
    async with reader(profile, **configured(scheme, "new")) as provider:
        for subject in subjects:
            raw = encoded(profile.event(EVENT_ID, "tomorrow.invented", subject))
            found = provider.parse_webhook(raw, scheme.sign(raw, "new", EVENT_ID, 0))
            assert found.kind is EventKind.IGNORED
            assert found.event_type == "tomorrow.invented"


async def live(bench: Bench) -> None:
    """A little of everything that this provider can do, so that it tells of it."""
    can = bench.capabilities.supports
    await bench.refundable()
    running, _ = await bench.unpaid_renewal()
    await bench.provider.cancel_subscription(
        running.provider_customer_id, running.provider_subscription_id, at_period_end=False
    )
    if Capability.CASH_VOUCHER in can:
        _, slip = await bench.issued(Instrument.OXXO)
        await bench.expire(slip)
    if Capability.HOSTED_CHECKOUT in can:
        _, page = await bench.page()
        await bench.expire(page)
    if Capability.BENEFIT in can:
        benefit_id = await bench.provider.ensure_benefit(bench.benefit_draft())
        draft = bench.grant_draft(await bench.customer(), benefit_id)
        await bench.provider.grant_benefit(draft)
        await bench.provider.revoke_benefit(draft)


async def test_every_event_of_a_life_is_understood_also_under_a_name_of_tomorrow(
    bench: Bench,
) -> None:
    """With fields that nobody knows yet, and a type that is new in a family that we read."""
    await live(bench)
    scheme = bench.profile.schemes[0]
    provider = bench.adapter(configured(scheme, "new"))
    kinds = set()
    assert len(bench.events()) > 5
    for number, body in enumerate(bench.events()):
        family = body["type"].rpartition(".")[0]
        for changed in (body, {**body, "type": f"{family}.invented", "unheard_of": {"x": [1]}}):
            raw = encoded(changed)
            signed = scheme.sign(raw, "new", f"evt_{number}", 0)
            found = provider.parse_webhook(raw, signed)
            assert found.event_type == changed["type"]
            kinds.add(found.kind)
            if found.payment is not None:
                assert found.payment.amount_minor in {AMOUNT_MINOR, 0}
    assert {EventKind.LOOK, EventKind.PAYMENT} <= kinds


async def test_what_the_simulator_signs_is_believed(bench: Bench) -> None:
    await bench.refundable()
    key = {
        "stripe": bench.core.config.stripe_webhook_secret,
        "polar": bench.core.config.polar_webhook_secret,
        "conekta": bench.app.state.conekta.public_key_pem,
    }[bench.name]
    provider = bench.adapter({bench.profile.schemes[0].setting: key})
    ids = set()
    for body in bench.events():
        raw = encoded(body)
        headers = bench.core.webhooks.signers[bench.name](raw)
        lower = {name.lower(): value for name, value in headers.items()}
        ids.add(provider.parse_webhook(raw, lower).provider_event_id)
    assert len(ids) == len(bench.events())
