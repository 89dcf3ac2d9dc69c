"""Whatever strangers send to the webhooks' addresses is refused by type, and leaves no trace.

Method: a webhook that is signed well by each of the schemes (the control), then spoiled in one way. Bodies
and what they are spoiled with are Hypothesis's.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abono.settings import Settings
from abono.wiring import build_providers
from providers.registry import ProviderRegistry
from tests.api.support import Api
from tests.providers.contract.bench import nothing_configured
from tests.providers.contract.profiles import PROFILES, Profile, encoded
from tests.providers.contract.schemes import TOLERANCE_SECONDS, Headers, Scheme

CASES = [(profile, scheme) for profile in PROFILES for scheme in profile.schemes]
SUBJECT = {"id": "obj_1", "object": "customer"}
REFUSED = {401, 413, 414, 422, 431}

FUZZ = settings(
    max_examples=15,
    deadline=None,
    # The fixture's database is meant to stay empty over all examples.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
case = pytest.mark.parametrize(("profile", "scheme"), CASES, ids=lambda one: str(one))
# What an HTTP header can hold at all: the server refuses control characters itself.
header_text = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=400)
bodies = st.one_of(
    st.binary(max_size=2_000),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ).map(encoded),
)


@pytest.fixture
def providers() -> ProviderRegistry:
    """All three, each with all of its schemes."""
    values = nothing_configured()
    for profile in PROFILES:
        values |= profile.settings
        values |= {scheme.setting: scheme.configured(["real"]) for scheme in profile.schemes}
    return build_providers(Settings.model_validate(values))


async def post(api: Api, profile: Profile, raw: bytes, headers: Mapping[str, str]) -> int:
    answer = await api.anyone.post(
        f"/api/v1/webhooks/{profile.name}",
        content=raw,
        headers=[(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
    )
    assert answer.headers["content-type"] == (
        "application/json" if answer.status_code == 200 else "application/problem+json"
    )
    return answer.status_code


def signed(scheme: Scheme, raw: bytes, key: str = "real", age_seconds: int = 0) -> Headers:
    return scheme.sign(raw, key, "evt_1", age_seconds)


def event(profile: Profile) -> bytes:
    return encoded(profile.event("evt_1", "customer.invented", SUBJECT))


@case
async def test_the_control_is_accepted(api: Api, profile: Profile, scheme: Scheme) -> None:
    raw = event(profile)
    assert await post(api, profile, raw, signed(scheme, raw)) == 200
    assert len(await api.inbox()) == 1


@case
@FUZZ
@given(body=bodies, text=header_text)
async def test_any_signature_that_is_none_is_refused(
    api: Api, profile: Profile, scheme: Scheme, body: bytes, text: str
) -> None:
    headers = {**signed(scheme, body), scheme.signature_header: text}
    assert await post(api, profile, body, headers) in REFUSED
    assert await api.inbox() == []


@case
@FUZZ
@given(body=bodies, more=st.binary(min_size=1, max_size=50), at_the_end=st.booleans())
async def test_a_body_that_grew_after_signing_is_refused(
    api: Api, profile: Profile, scheme: Scheme, body: bytes, more: bytes, at_the_end: bool
) -> None:
    changed = body + more if at_the_end else more + body
    assert await post(api, profile, changed, signed(scheme, body)) in REFUSED
    assert await api.inbox() == []


@case
@FUZZ
@given(body=bodies, key=st.sampled_from(["old", "stolen"]))
async def test_what_another_key_signed_is_refused(
    api: Api, profile: Profile, scheme: Scheme, body: bytes, key: str
) -> None:
    assert await post(api, profile, body, signed(scheme, body, key)) in REFUSED
    assert await api.inbox() == []


@case
@FUZZ
@given(place=st.integers(0, 10_000), letter=st.characters(min_codepoint=0x21, max_codepoint=0x7E))
async def test_a_signature_with_another_letter_is_refused(
    api: Api, profile: Profile, scheme: Scheme, place: int, letter: str
) -> None:
    raw = event(profile)
    good = signed(scheme, raw)
    value = good[scheme.signature_header]
    # The last letters of base64 may carry bits that no one reads.
    at = place % (len(value) - 4)
    spoiled = value[:at] + letter + value[at + 1 :]
    if spoiled.lower() == value.lower() or letter in ", ":
        return  # Hexadecimal digits have no case; a list may have more entries.
    assert await post(api, profile, raw, {**good, scheme.signature_header: spoiled}) in REFUSED
    assert await api.inbox() == []


@pytest.mark.parametrize(
    ("profile", "scheme"), [one for one in CASES if one[1].has_time], ids=lambda one: str(one)
)
@pytest.mark.parametrize("age_seconds", [TOLERANCE_SECONDS + 5, 86_400, 10**9])
async def test_a_recorded_webhook_is_not_accepted_later(
    api: Api, profile: Profile, scheme: Scheme, age_seconds: int
) -> None:
    raw = event(profile)
    assert await post(api, profile, raw, signed(scheme, raw, age_seconds=age_seconds)) == 401
    assert await api.inbox() == []


@case
async def test_a_body_over_the_limit_is_not_even_verified(
    api: Api, profile: Profile, scheme: Scheme
) -> None:
    raw = encoded(profile.event("evt_1", "customer.invented", {**SUBJECT, "x": "x" * 60_000}))
    assert await post(api, profile, raw, signed(scheme, raw)) == 413
    assert await api.inbox() == []


@case
@FUZZ
@given(body=bodies)
async def test_what_is_authentic_never_breaks_anything(
    api: Api, profile: Profile, scheme: Scheme, body: bytes
) -> None:
    """Stored or refused as unreadable: a provider's bug is no 5xx of ours. What is no text at all has no
    signature that Stripe's own library could check."""
    assert await post(api, profile, body, signed(scheme, body)) in {200, 400, 401}
