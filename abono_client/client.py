"""One class for the whole API: typed objects in and out, keys and retries by itself.

Every POST, PATCH and DELETE carries an `Idempotency-Key`, so that it can be sent again safely: after a
connection that broke, and after 429, 503 and "still running". Whoever has to survive a restart of their
own passes `idempotency_key`.

`client.py` is made of `async_client.py` by `make docs`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, overload
from uuid import UUID, uuid4

import httpx
from pydantic import BaseModel

from abono_client import models
from abono_client.errors import ConnectionFailed, error_of
from abono_client.retrying import TIMEOUT_SECONDS, TRIES_MAX, as_json, is_passing, wait_seconds

_PAGE = 100

_View = TypeVar("_View", bound=BaseModel)
Id = UUID | str


class AbonoClient:
    """`base_url` is where the API is, such as https://billing.example. Use it as a context manager, or
    close it. `transport` is httpx's, for tests and proxies."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        tries_max: int = TRIES_MAX,
        timeout_seconds: float = TIMEOUT_SECONDS,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._tries_max = tries_max
        self._http = httpx.Client(
            base_url=f"{base_url.rstrip('/')}/api/v1",
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=timeout_seconds,
            transport=transport,
        )

    def __enter__(self) -> AbonoClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # Any operation of the description. Those below are the ones that an application needs every day.

    def get(self, path: str, view: type[_View], **query: Any) -> _View:
        """`path` behind /api/v1. Raises ApiError and ConnectionFailed, as everything here."""
        return view.model_validate((self._send("GET", path, query=query)).json())

    def post(
        self,
        path: str,
        view: type[_View],
        body: BaseModel | Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        **query: Any,
    ) -> _View:
        """The same `idempotency_key` gets the same answer, and nothing is done twice."""
        headers = {"Idempotency-Key": idempotency_key or str(uuid4())}
        answer = self._send("POST", path, query=query, body=as_json(body), headers=headers)
        return view.model_validate(answer.json())

    def patch(
        self,
        path: str,
        view: type[_View],
        body: BaseModel | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> _View:
        headers = {"Idempotency-Key": idempotency_key or str(uuid4())}
        answer = self._send("PATCH", path, body=as_json(body), headers=headers)
        return view.model_validate(answer.json())

    @overload
    def delete(
        self, path: str, view: type[_View], *, idempotency_key: str | None = None
    ) -> _View: ...

    @overload
    def delete(self, path: str, *, idempotency_key: str | None = None) -> None: ...

    def delete(
        self, path: str, view: type[_View] | None = None, *, idempotency_key: str | None = None
    ) -> _View | None:
        """Without `view` for what is answered with 204."""
        headers = {"Idempotency-Key": idempotency_key or str(uuid4())}
        answer = self._send("DELETE", path, headers=headers)
        return view.model_validate(answer.json()) if view is not None else None

    def pages(self, path: str, view: type[_View], **query: Any) -> Iterator[_View]:
        """Every item of a list, page after page, as it is iterated."""
        cursor = None
        while True:
            asked = {"limit": _PAGE, **query, "cursor": cursor}
            found = (self._send("GET", path, query=asked)).json()
            for item in found["data"]:
                yield view.model_validate(item)
            cursor = found.get("next_cursor")
            if cursor is None:
                return

    # What an application does.

    def create_plan(self, plan: models.CreatePlan, **options: Any) -> models.PlanView:
        return self.post("/billing/plans", models.PlanView, plan, **options)

    def plans(self, **filters: Any) -> Iterator[models.PlanView]:
        return self.pages("/billing/plans", models.PlanView, **filters)

    def create_organization(
        self, organization: models.CreateOrganization, **options: Any
    ) -> models.OrganizationView:
        path = "/billing/organizations"
        return self.post(path, models.OrganizationView, organization, **options)

    def add_payment_method(
        self, method: models.AddPaymentMethod, **options: Any
    ) -> models.PaymentMethodView:
        return self.post("/billing/payment-methods", models.PaymentMethodView, method, **options)

    def open_subscription(
        self, subscription: models.CreateSubscription, **options: Any
    ) -> models.SubscriptionView:
        """`status` is `incomplete` while the outcome is not known, or while `next_action` is to be done."""
        path = "/billing/subscriptions"
        return self.post(path, models.SubscriptionView, subscription, **options)

    def subscription(self, subscription_id: Id) -> models.SubscriptionView:
        return self.get(f"/billing/subscriptions/{subscription_id}", models.SubscriptionView)

    def subscriptions(self, **filters: Any) -> Iterator[models.SubscriptionView]:
        return self.pages("/billing/subscriptions", models.SubscriptionView, **filters)

    def change_subscription(
        self, subscription_id: Id, change: models.ChangeSubscription, **options: Any
    ) -> models.SubscriptionView:
        path = f"/billing/subscriptions/{subscription_id}"
        return self.patch(path, models.SubscriptionView, change, **options)

    def retry_payment(
        self, subscription_id: Id, retry: models.RetryPaymentRequest, **options: Any
    ) -> models.SubscriptionView:
        """Collects the open invoice now."""
        path = f"/billing/subscriptions/{subscription_id}/retry"
        return self.post(path, models.SubscriptionView, retry, **options)

    def cancel_subscription(
        self, subscription_id: Id, *, immediately: bool = False, **options: Any
    ) -> models.SubscriptionView:
        path = f"/billing/subscriptions/{subscription_id}/cancel"
        said = "true" if immediately else "false"
        return self.post(path, models.SubscriptionView, cancel_immediately=said, **options)

    def invoices(self, **filters: Any) -> Iterator[models.InvoiceView]:
        return self.pages("/billing/invoices", models.InvoiceView, **filters)

    def invoice(self, invoice_id: Id) -> models.InvoiceDetail:
        return self.get(f"/billing/invoices/{invoice_id}", models.InvoiceDetail)

    def events(self, **filters: Any) -> Iterator[models.EventView]:
        """Oldest first."""
        return self.pages("/billing/events", models.EventView, **filters)

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        said = {name: value for name, value in (query or {}).items() if value is not None}
        for tried in range(1, self._tries_max + 1):
            last = tried == self._tries_max
            try:
                answer = self._http.request(method, path, params=said, json=body, headers=headers)
            except httpx.TransportError as trouble:
                if last:
                    raise ConnectionFailed(f"{method} {path}: {type(trouble).__name__}") from None
                time.sleep(wait_seconds(tried, None))
                continue
            if answer.is_success:
                return answer
            if last or not is_passing(answer):
                raise error_of(answer)
            time.sleep(wait_seconds(tried, answer))
        raise ValueError("tries_max is at least 1")
