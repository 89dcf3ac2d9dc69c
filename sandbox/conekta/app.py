"""The simulator itself: routes, the guard around each of them, and the hooks of the control plane."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.conekta.cards import Cards
from sandbox.conekta.chargebacks import Chargebacks
from sandbox.conekta.customers import Customers
from sandbox.conekta.cycles import Cycles
from sandbox.conekta.events import Events
from sandbox.conekta.orders import Orders
from sandbox.conekta.payments import Payments
from sandbox.conekta.plans import Plans
from sandbox.conekta.subscriptions import Subscriptions
from sandbox.conekta.wire import Refusal, check_headers, error_body
from sandbox.core import Call, Core, Handler

# Method, path, name of the operation, and who carries it out.
Table = list[tuple[str, str, str, Handler]]


class ConektaSimulator:
    """Mounted at `/conekta`; implements `sandbox.control.Simulator`."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.events = Events(core)
        self.customers = Customers(core)
        self.payments = Payments(core, self.events)
        self.chargebacks = Chargebacks(self.payments)
        self.cards = Cards(core, self.customers)
        self.orders = Orders(self.payments, self.customers, self.cards)
        self.plans = Plans(core, self.events)
        self.cycles = Cycles(self.payments, self.cards, self.plans)
        self.subscriptions = Subscriptions(self.cycles, self.customers)

    @property
    def public_key_pem(self) -> str:
        """What a merchant would copy from `POST /webhook_keys` into its configuration."""
        return self.events.public_key_pem

    def routes(self) -> list[Route]:
        return [
            Route(path, self._endpoint(operation, handler), methods=[method], name=operation)
            for method, path, operation, handler in [*self._payment_table(), *self._card_table()]
        ]

    def _card_table(self) -> Table:
        cards, plans, subscriptions = self.cards, self.plans, self.subscriptions
        sources = "/customers/{customer_id}/payment_sources"
        mine = "/customers/{customer_id}/subscriptions"
        return [
            ("POST", sources, "payment_sources.create", cards.create),
            ("GET", sources, "payment_sources.list", cards.find_all),
            ("DELETE", f"{sources}/{{id}}", "payment_sources.delete", cards.delete),
            ("POST", "/plans", "plans.create", plans.create),
            ("GET", "/plans", "plans.list", plans.find_all),
            ("GET", "/plans/{id}", "plans.retrieve", plans.retrieve),
            ("DELETE", "/plans/{id}", "plans.delete", plans.delete),
            ("POST", mine, "subscriptions.create", subscriptions.create),
            ("GET", mine, "subscriptions.list", subscriptions.find_all),
            ("GET", f"{mine}/{{id}}", "subscriptions.retrieve", subscriptions.retrieve),
            ("PUT", f"{mine}/{{id}}", "subscriptions.update", subscriptions.update),
            ("POST", f"{mine}/{{id}}/pause", "subscriptions.pause", subscriptions.pause),
            ("POST", f"{mine}/{{id}}/resume", "subscriptions.resume", subscriptions.resume),
            ("POST", f"{mine}/{{id}}/cancel", "subscriptions.cancel", subscriptions.cancel),
            ("POST", f"{mine}/{{id}}/retry", "subscriptions.retry", subscriptions.retry),
        ]

    def _payment_table(self) -> Table:
        customers, orders, events = self.customers, self.orders, self.events
        return [
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

    async def pay(self, reference: str, amount_minor: int | None) -> dict[str, Any]:
        """Pay a slip or a CLABE: also late, also again, also with another amount."""
        return self.payments.pay(reference, amount_minor)

    async def expire(self, reference: str) -> dict[str, Any]:
        """Let a slip or a CLABE (and the alternatives beside it) run out now."""
        return self.payments.expire(reference)

    async def fail_refund(self, reference: str) -> dict[str, Any]:
        """Conekta documents no refund that fails after it was made."""
        raise KeyError(reference)

    async def dispute(self, reference: str, outcome: str | None) -> dict[str, Any]:
        return self.chargebacks.open(reference, outcome)

    async def close_dispute(self, reference: str, outcome: str) -> dict[str, Any]:
        return self.chargebacks.close(reference, outcome)

    async def renew(self, provider_subscription_id: str, outcome: str) -> dict[str, Any]:
        """The clock bills the next cycle (or the unpaid one) now."""
        return self.subscriptions.renew(provider_subscription_id, outcome)

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
