"""Card numbers are refused wherever they stand; what only looks a little like one is not."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from api.pans import contains_card_number, passes_luhn
from models.storage.tables import IdempotencyKey, Organization, new_id
from tests.api.support import BASE, Api

VISA = "4242424242424242"


def with_check_digit(digits: str) -> str:
    return next(digits + str(last) for last in range(10) if passes_luhn(digits + str(last)))


cards = st.builds(
    lambda first, rest: with_check_digit(first + rest),
    st.sampled_from("23456"),
    st.text("0123456789", min_size=11, max_size=17),
).filter(lambda number: len(set(number)) > 1)


@given(cards)
def test_any_card_number_is_found(number: str) -> None:
    assert contains_card_number(number)
    assert contains_card_number(f"card: {number}.")
    assert contains_card_number("-".join(number[i : i + 4] for i in range(0, len(number), 4)))


@given(cards, st.sampled_from([" ", "-", ".", "\u00a0", "\u2013", ""]))
def test_separators_do_not_hide_it(number: str, separator: str) -> None:
    assert contains_card_number(separator.join(number))


@pytest.mark.parametrize(
    "text",
    [
        "4222222222222",
        "378282246310005",
        "3782 822463 10005",
        "6200000000000005",
        "2024-01-31 4242 4242 4242 4242 12/29",
        "tel 55 1234 5678, 4242-4242-4242-4242",
        "４２４２４２４２４２４２４２４２",
        "+4242424242424242",
    ],
)
def test_numbers_as_people_write_them_are_found(text: str) -> None:
    assert contains_card_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "4242424242424241",
        "1732306635000",
        "1732306635018",
        "+5215512345670",
        "+521 55 1234 5678",
        "2026-11-22T18:00:00.123456Z",
        "93000262276908000000000",
        "0000000000000000",
        "pm_1MqLiJLkdIwHu7ixUEgbFdYF",
    ],
)
def test_other_numbers_are_not(text: str) -> None:
    assert not contains_card_number(text)


@given(st.uuids())
def test_no_uuid_is_taken_for_a_card(found: Any) -> None:
    assert not contains_card_number(str(found))
    assert not contains_card_number(f"subscription/{found}")


def test_none_of_our_ids_is_taken_for_a_card() -> None:
    assert not any(contains_card_number(str(new_id())) for _ in range(2000))


BODIES: list[Any] = [
    {"name": VISA, "email": "a@acme.mx"},
    {"name": "Acme", "email": "a@acme.mx", "tax_id": "4242 4242 4242 4242"},
    {"name": "Acme", "email": "a@acme.mx", "unknown": {"deep": [[{"x": [VISA]}]]}},
    {"name": "Acme", "email": "a@acme.mx", "number": int(VISA)},
    {"name": "Acme", "email": "a@acme.mx", "number": float(VISA)},
    {"name": "Acme", "email": "a@acme.mx", VISA: True},
    [VISA],
    VISA,
]


@pytest.mark.parametrize("body", BODIES)
async def test_a_body_with_a_card_number_is_refused_and_not_stored(api: Api, body: Any) -> None:
    answer = await api.ours.post("/organizations", body, key="k")

    assert answer.status_code == 422
    assert answer.json()["code"] == "card_number_refused"
    assert VISA not in answer.text
    assert await api.all(select(func.count()).select_from(Organization)) == [0]
    assert await api.all(select(func.count()).select_from(IdempotencyKey)) == [0]


async def test_it_is_found_in_every_way_in(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    http = api.ours.http
    body = {"name": "Acme", "email": "a@acme.mx"}
    answers = [
        await http.post(f"{BASE}/organizations", content=b'{"name": "\\u0034242424242424242"}'),
        await http.get(f"{BASE}/organizations", params={"external_id": VISA}),
        await api.ours.post("/organizations", body, key=VISA),
        await api.ours.post(f"/subscriptions/{uuid4()}/retry", {"payment_method_id": VISA}),
    ]
    assert [answer.json()["code"] for answer in answers] == ["card_number_refused"] * len(answers)
    # What is no JSON is refused as that, before anything looks into it.
    answers.append(await http.post(f"{BASE}/organizations", content=f"not json {VISA}"))
    assert answers[-1].status_code == 422
    assert VISA not in capsys.readouterr().out + "".join(answer.text for answer in answers)


async def test_a_card_number_in_a_path_or_a_header_is_not_logged(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = await api.ours.http.get(f"{BASE}/plans/{VISA}", headers={"X-Request-Id": VISA})
    assert answer.status_code == 404
    logged = capsys.readouterr().out
    assert VISA not in logged + answer.text + str(answer.headers)
    metrics = (await api.anyone.get("/metrics")).text
    assert VISA not in metrics
