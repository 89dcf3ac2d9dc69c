"""The simulator itself: routes, the guard around each of them, and the hooks of the control plane."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.conekta.customers import Customers
from sandbox.conekta.events import Events
from sandbox.conekta.orders import Orders
from sandbox.conekta.payments import Payments
from sandbox.conekta.wire import Refusal, check_headers, error_body
from sandbox.core import Call, Core, Handler


class ConektaSimulator:
    """Mounted at `/conekta`; implements `sandbox.control.Simulator`."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.events = Events(core)
        self.customers = Customers(core)
        self.payments = Payments(core, self.events)
        self.orders = Orders(self.payments, self.customers)

    @property
    def public_key_pem(self) -> str:
        """What a merchant would copy from `POST /webhook_keys` into its configuration."""
        return self.events.public_key_pem

    def routes(self) -> list[Route]:
        customers, orders, events = self.customers, self.orders, self.events
        table: list[tuple[str, str, str, Handler]] = [
            ("POST", "/customers", "customers.create", customers.create),
            ("GET", "/customers", "customers.list", customers.find_all),
            ("GET", "/customers/{id}", "customers.retrieve", customers.retrieve),
            ("PUT", "/customers/{id}", "customers.update", customers.update),
            ("POST", "/orders", "orders.create", orders.create),
            ("GET", "/orders", "orders.list", orders.find_all),
            ("GET", "/orders/{id}", "orders.retrieve", orders.retrieve),
            ("PUT", "/orders/{id}", "orders.update", orders.update),
            ("POST", "/orders/{id}/charges", "charges.create", orders.create_charge),
            ("POST", "/orders/{id}/cancel", "orders.cancel", orders.cancel),
            ("POST", "/orders/{id}/refunds", "orders.refund", orders.refund),
            ("GET", "/events", "events.list", events.find_all),
            ("GET", "/events/{id}", "events.retrieve", events.retrieve),
            ("GET", "/webhook_keys", "webhook_keys.list", events.find_keys),
            ("GET", "/webhook_keys/{id}", "webhook_keys.retrieve", events.retrieve_key),
        ]
        return [
            Route(path, self._endpoint(operation, handler), methods=[method], name=operation)
            for method, path, operation, handler in table
        ]

    async def pay(self, reference: str, amount_minor: int | None) -> dict[str, Any]:
        """Pay a slip or a CLABE: also late, also again, also with another amount."""
        return self.payments.pay(reference, amount_minor)

    async def expire(self, reference: str) -> dict[str, Any]:
        """Let a slip or a CLABE (and the alternatives beside it) run out now."""
        return self.payments.expire(reference)

    async def renew(self, provider_subscription_id: str, _outcome: str) -> dict[str, Any]:
        """There are no card subscriptions here, so no id is ever known."""
        raise KeyError(provider_subscription_id)

    def _endpoint(self, operation: str, handler: Handler) -> Any:
        async def guarded(request: Request, call: Call) -> Response:
            try:
                check_headers(request, self.core.config.conekta_api_key)
                return await handler(request, call)
            except Refusal as refusal:
                return refusal.response()
            finally:
                # A declined charge is a refusal that changed the order all the same.
                if request.method != "GET":
                    self.core.save()

        async def endpoint(request: Request) -> Response:
            return await self.core.serve("conekta", operation, request, guarded, error_body)

        return endpoint
