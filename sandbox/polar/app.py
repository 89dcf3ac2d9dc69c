"""The simulator itself: routes, the guard around each of them, and the hooks of the control plane."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox import page
from sandbox.core import Call, Core, Handler
from sandbox.polar.catalog import Catalog
from sandbox.polar.checkouts import Checkouts
from sandbox.polar.customers import Customers
from sandbox.polar.grants import Grants
from sandbox.polar.orders import Orders
from sandbox.polar.subscriptions import Subscriptions
from sandbox.polar.wire import API_VERSION, Refusal, check_headers, error_body
from sandbox.polar.world import World

Row = tuple[str, str, str, Handler]


class PolarSimulator:
    """Mounted at `/polar`; implements `sandbox.control.Simulator`."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.world = World(core)
        self.grants = Grants(self.world)
        self.customers = Customers(self.world)
        self.catalog = Catalog(self.world, self.grants)
        self.orders = Orders(self.world, self.grants)
        self.subscriptions = Subscriptions(self.world, self.orders, self.grants)
        self.checkouts = Checkouts(
            self.world, self.customers, self.orders, self.subscriptions, self.grants
        )

    def routes(self) -> list[Route]:
        table = [*self._customer_rows(), *self._catalog_rows(), *self._selling_rows()]
        return [
            *(
                Route(f"/v1{path}", self._endpoint(operation, handler), methods=[method])
                for method, path, operation, handler in table
            ),
            Route("/checkout/{client_secret}", self._page, methods=["GET", "POST"]),
        ]

    async def pay(self, reference: str, _amount_minor: int | None) -> dict[str, Any]:
        """Pay the page with this id. The id of a grant that waits for the customer: connect the
        account that it waits for."""
        if reference in self.grants.all:
            return self.grants.connect(reference)
        return self.checkouts.pay(reference)

    async def expire(self, reference: str) -> dict[str, Any]:
        """Let the page with this id run out now."""
        return self.checkouts.expire(reference)

    async def fail_refund(self, reference: str) -> dict[str, Any]:
        return self.orders.fail_refund(reference)

    async def dispute(self, reference: str, _outcome: str | None) -> dict[str, Any]:
        """Polar is the seller: it bears disputes itself and sends the merchant no event of them."""
        raise KeyError(reference)

    async def close_dispute(self, reference: str, _outcome: str) -> dict[str, Any]:
        raise KeyError(reference)

    async def renew(self, provider_subscription_id: str, outcome: str) -> dict[str, Any]:
        return self.subscriptions.renew(provider_subscription_id, outcome)

    def _customer_rows(self) -> list[Row]:
        c = self.customers
        return [
            ("POST", "/customers/", "customers.create", c.create),
            ("GET", "/customers/", "customers.list", c.find_all),
            ("GET", "/customers/external/{id}", "customers.get_external", c.retrieve_external),
            ("GET", "/customers/{id}", "customers.get", c.retrieve),
            ("PATCH", "/customers/{id}", "customers.update", c.update),
        ]

    def _catalog_rows(self) -> list[Row]:
        c = self.catalog
        return [
            ("POST", "/products/", "products.create", c.create_product),
            ("GET", "/products/", "products.list", c.find_products),
            ("GET", "/products/{id}", "products.get", c.retrieve_product),
            ("PATCH", "/products/{id}", "products.update", c.update_product),
            ("POST", "/products/{id}/benefits", "products.update_benefits", c.update_benefits),
            ("POST", "/benefits/", "benefits.create", c.create_benefit),
            ("GET", "/benefits/", "benefits.list", c.find_benefits),
            ("GET", "/benefits/{id}", "benefits.get", c.retrieve_benefit),
            ("GET", "/benefit-grants/", "benefit_grants.list", self.grants.find_all),
        ]

    def _selling_rows(self) -> list[Row]:
        c, o, s = self.checkouts, self.orders, self.subscriptions
        return [
            ("POST", "/checkouts/", "checkouts.create", c.create),
            ("GET", "/checkouts/", "checkouts.list", c.find_all),
            ("GET", "/checkouts/{id}", "checkouts.get", c.retrieve),
            ("GET", "/orders/", "orders.list", o.find_all),
            ("GET", "/orders/{id}", "orders.get", o.retrieve),
            ("POST", "/refunds/", "refunds.create", o.create_refund),
            ("GET", "/refunds/", "refunds.list", o.find_refunds),
            ("POST", "/subscriptions/", "subscriptions.create", s.create),
            ("GET", "/subscriptions/", "subscriptions.list", s.find_all),
            ("GET", "/subscriptions/{id}", "subscriptions.get", s.retrieve),
            ("PATCH", "/subscriptions/{id}", "subscriptions.update", s.update),
            ("DELETE", "/subscriptions/{id}", "subscriptions.revoke", s.revoke),
        ]

    def _endpoint(self, operation: str, handler: Handler) -> Any:
        async def guarded(request: Request, call: Call) -> Response:
            try:
                check_headers(request, self.core.config.polar_access_token)
                answer = await handler(request, call)
            except Refusal as refusal:
                return refusal.response()
            answer.headers["Polar-Version"] = API_VERSION
            if request.method != "GET":
                self.core.save()
            return answer

        async def endpoint(request: Request) -> Response:
            return await self.core.serve("polar", operation, request, guarded, error_body)

        return endpoint

    async def _page(self, request: Request) -> Response:
        """What the customer sees; pressing the button pays."""
        await self.core.settle_time()
        checkout = self.checkouts.by_secret(request.path_params["client_secret"])
        if checkout is None:
            return page.unknown("Polar")
        if request.method == "POST":
            paid = self.checkouts.pay(checkout["id"])["status"] == "paid"
            self.core.save()
            if paid:
                url = checkout["success_url"].replace("{CHECKOUT_ID}", checkout["id"])
                return page.leave(url)
        name = self.world.all("products")[checkout["product_id"]]["name"]
        amount, currency = checkout["total_amount"], checkout["currency"]
        return page.show("Polar", name, amount, currency, checkout["status"])
