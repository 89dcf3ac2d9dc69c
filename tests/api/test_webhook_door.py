"""A webhook does not go through the framework's routing: everything else at its address still does."""

from __future__ import annotations

import pytest

from tests.api.support import Api, refund_event, stripe_webhook

URL = "/api/v1/webhooks"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"{URL}/stripe", 405),
        ("POST", f"{URL}/", 404),
        ("POST", f"{URL}/stripe/", 404),
        ("POST", f"{URL}/stripe/more", 404),
        ("POST", f"{URL}/stripe%2Fmore", 404),
        ("POST", "/api/v1/webhooksstripe", 404),
    ],
)
async def test_only_a_post_to_a_provider_is_a_webhook(
    api: Api, method: str, path: str, status: int
) -> None:
    answer = await api.anyone.request(method, path, **stripe_webhook(refund_event()))
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert await api.inbox() == []


async def test_it_passes_every_check_of_the_edge(api: Api) -> None:
    answer = await api.anyone.post(f"{URL}/stripe", **stripe_webhook(refund_event()))
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "x-request-id" in answer.headers
    api.context.body_max_bytes = 100
    refused = await api.anyone.post(f"{URL}/stripe", **stripe_webhook(refund_event()))
    assert (refused.status_code, refused.json()["code"]) == (413, "payload_too_large")


async def test_its_figures_name_the_template(api: Api) -> None:
    await api.anyone.post(f"{URL}/stripe", **stripe_webhook(refund_event()))
    await api.anyone.post(f"{URL}/nobody", json={})
    figures = api.context.metrics.render().decode()
    route = 'method="POST",route="/api/v1/webhooks/{provider}"'
    assert f'{route},status="200"' in figures
    assert f'{route},status="404"' in figures
    assert "nobody" not in figures
