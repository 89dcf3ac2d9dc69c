"""The Stripe simulator: its routes, its clock and what the control plane may do to it."""

from __future__ import annotations

import hashlib
import hmac
import math
import time
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox import page
from sandbox.core import Call, Core, new_id
from sandbox.stripe.catalog import Catalog
from sandbox.stripe.charging import Charging
from sandbox.stripe.checkout import Checkout
from sandbox.stripe.customers import Customers
from sandbox.stripe.disputes import Disputes
from sandbox.stripe.events import Events
from sandbox.stripe.forms import Params, decode, strings
from sandbox.stripe.invoice_items import InvoiceItems
from sandbox.stripe.invoices import Invoices
from sandbox.stripe.pauses import Pauses
from sandbox.stripe.payments import Payments
from sandbox.stripe.refunds import Refunds
from sandbox.stripe.refusals import Refusal, server_error_body
from sandbox.stripe.schedules import Schedules
from sandbox.stripe.setups import Setups
from sandbox.stripe.subscriptions import Subscriptions
from sandbox.stripe.transfers import Transfers
from sandbox.stripe.vouchers import Vouchers
from sandbox.stripe.world import API_VERSION, Object, Origin, World

Operation = Callable[..., Object]


class StripeSimulator:
    def __init__(self, core: Core) -> None:
        self.core = core
        self.world = World(core)
        self.customers = Customers(self.world)
        self.setups = Setups(self.world)
        self.catalog = Catalog(self.world)
        self.charging = Charging(self.world)
        self.vouchers = Vouchers(self.world, self.charging)
        self.transfers = Transfers(self.world, self.charging)
        self.invoices = Invoices(self.world, self.customers, self.charging)
        self.schedules = Schedules(self.world, self.customers)
        self.pauses = Pauses(self.world, self.invoices, self.schedules)
        self.subscriptions = Subscriptions(
            self.world, self.customers, self.invoices, self.pauses, self.schedules
        )
        self.items = InvoiceItems(self.world, self.invoices)
        self.payments = Payments(
            self.world,
            self.customers,
            self.charging,
            self.vouchers,
            self.transfers,
            self.invoices,
        )
        self.refunds = Refunds(self.world, self.transfers)
        self.checkout = Checkout(self.world, self.charging)
        self.disputes = Disputes(self.world)
        self.events = Events(self.world)
        core.on_time.append(self._tick)
        core.next_dues.append(lambda: self.world.next_due)
        core.webhooks.signers["stripe"] = self.sign

    def routes(self) -> list[Route]:
        return [
            *(
                self._route(*row)
                for row in (
                    *self._customer_rows(),
                    *self._catalog_rows(),
                    *self._billing_rows(),
                    *self._payment_rows(),
                )
            ),
            Route("/checkout/{session}", self._page, methods=["GET", "POST"]),
        ]

    def sign(self, body: bytes) -> dict[str, str]:
        """Signed when it is sent, so that a retry hours later is not too old."""
        timestamp = int(time.time())
        secret = self.core.config.stripe_webhook_secret.encode()
        mac = hmac.new(secret, f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
        return {"Stripe-Signature": f"t={timestamp},v1={mac}"}

    # What the control plane may do.

    async def pay(self, reference: str, amount_minor: int | None) -> dict[str, Any]:
        """Pays a voucher number, a CLABE, a hosted page (by its session's id) or an invoice on its own
        page (by its id), or finishes 3-D Secure for an intent or client secret."""
        self.world.origin = Origin()
        if reference in self.world.all("invoices"):
            return _outcome(
                reference, self.invoices.pay_on_page(self.world.all("invoices")[reference])
            )
        if reference in self.checkout.sessions:
            return self.checkout.pay(reference)
        if reference in self.world.all("vouchers"):
            intent = self.vouchers.pay(reference, amount_minor)
        elif reference in self.world.all("clabes"):
            intent = self.transfers.pay(reference, amount_minor)
        else:
            intent = self._intent(reference)
            self.payments.authenticate(intent, succeeds=True)
        return _outcome(reference, intent)

    async def expire(self, reference: str) -> dict[str, Any]:
        """A voucher or a hosted page runs out, or 3-D Secure fails. A CLABE never expires: nothing
        happens."""
        self.world.origin = Origin()
        if reference in self.checkout.sessions:
            return self.checkout.expire(reference)
        if reference in self.world.all("vouchers"):
            intent = self.vouchers.expire(reference)
        elif reference in self.world.all("clabes"):
            return {"provider": "stripe", "reference": reference, "status": "never_expires"}
        else:
            intent = self._intent(reference)
            self.payments.authenticate(intent, succeeds=False)
        return _outcome(reference, intent)

    async def renew(self, provider_subscription_id: str, outcome: str) -> dict[str, Any]:
        self.world.origin = Origin()
        return self.subscriptions.renew(provider_subscription_id, outcome)

    async def fail_refund(self, reference: str) -> dict[str, Any]:
        return self.refunds.fail(reference)

    async def dispute(self, reference: str, outcome: str | None) -> dict[str, Any]:
        self.world.origin = Origin()
        return self.disputes.open(reference, outcome)

    async def close_dispute(self, reference: str, outcome: str) -> dict[str, Any]:
        self.world.origin = Origin()
        return self.disputes.close(reference, outcome)

    def _intent(self, reference: str) -> Object:
        return self.world.all("payment_intents")[reference.split("_secret_")[0]]

    async def _tick(self) -> None:
        if self.world.now() < self.world.next_due:
            return
        self.world.origin = Origin()
        self.world.next_due = math.inf
        self.subscriptions.tick()
        self.vouchers.tick()
        self.checkout.tick()

    # The routes: operation name, method, path, what answers.

    def _customer_rows(self) -> list[tuple[str, str, str, Operation]]:
        c, t = self.customers, self.transfers
        return [
            ("customers.create", "POST", "/customers", c.create),
            ("customers.retrieve", "GET", "/customers/{customer}", c.retrieve),
            ("customers.update", "POST", "/customers/{customer}", c.update),
            ("customers.payment_methods.list", "GET", "/customers/{customer}/payment_methods",
             c.list_payment_methods),
            ("customers.cash_balance_transactions.list", "GET",
             "/customers/{customer}/cash_balance_transactions", t.list_transactions),
            ("payment_methods.create", "POST", "/payment_methods", c.create_payment_method),
            ("payment_methods.retrieve", "GET", "/payment_methods/{payment_method}",
             c.retrieve_payment_method),
            ("payment_methods.attach", "POST", "/payment_methods/{payment_method}/attach", c.attach),
            ("setup_intents.create", "POST", "/setup_intents", self.setups.create),
            ("payment_methods.detach", "POST", "/payment_methods/{payment_method}/detach", c.detach),
        ]  # fmt: skip

    def _catalog_rows(self) -> list[tuple[str, str, str, Operation]]:
        c = self.catalog
        return [
            ("products.create", "POST", "/products", c.create_product),
            ("products.retrieve", "GET", "/products/{product}", c.retrieve_product),
            ("products.update", "POST", "/products/{product}", c.update_product),
            ("prices.create", "POST", "/prices", c.create_price),
            ("prices.list", "GET", "/prices", c.list_prices),
            ("prices.retrieve", "GET", "/prices/{price}", c.retrieve_price),
            ("prices.update", "POST", "/prices/{price}", c.update_price),
        ]

    def _billing_rows(self) -> list[tuple[str, str, str, Operation]]:
        s, i, h, items = self.subscriptions, self.invoices, self.pauses, self.items
        plans = self.schedules
        return [
            ("subscriptions.create", "POST", "/subscriptions", s.create),
            ("subscriptions.list", "GET", "/subscriptions", s.list_subscriptions),
            ("subscriptions.retrieve", "GET", "/subscriptions/{subscription}", s.retrieve),
            ("subscriptions.update", "POST", "/subscriptions/{subscription}", s.update),
            ("subscriptions.cancel", "DELETE", "/subscriptions/{subscription}", s.cancel),
            ("subscriptions.pause", "POST", "/subscriptions/{subscription}/pause", h.pause),
            ("subscriptions.resume", "POST", "/subscriptions/{subscription}/resume", h.resume),
            ("subscription_schedules.create", "POST", "/subscription_schedules", plans.create),
            ("subscription_schedules.retrieve", "GET", "/subscription_schedules/{schedule}",
             plans.retrieve),
            ("subscription_schedules.update", "POST", "/subscription_schedules/{schedule}",
             plans.update),
            ("subscription_schedules.release", "POST", "/subscription_schedules/{schedule}/release",
             plans.release),
            ("invoices.list", "GET", "/invoices", i.list_invoices),
            ("invoice_payments.list", "GET", "/invoice_payments", i.list_payments),
            ("invoices.retrieve", "GET", "/invoices/{invoice}", i.retrieve),
            ("invoices.pay", "POST", "/invoices/{invoice}/pay", i.pay),
            ("invoices.void", "POST", "/invoices/{invoice}/void", i.void),
            ("invoices.create", "POST", "/invoices", items.create_invoice),
            ("invoices.add_lines", "POST", "/invoices/{invoice}/add_lines", items.add_lines),
            ("invoices.finalize", "POST", "/invoices/{invoice}/finalize", items.finalize),
            ("invoiceitems.create", "POST", "/invoiceitems", items.create),
            ("invoiceitems.list", "GET", "/invoiceitems", items.list_items),
            ("invoiceitems.delete", "DELETE", "/invoiceitems/{item}", items.delete),
        ]  # fmt: skip

    def _payment_rows(self) -> list[tuple[str, str, str, Operation]]:
        p, r, c, d = self.payments, self.refunds, self.checkout, self.disputes
        return [
            ("checkout.sessions.create", "POST", "/checkout/sessions", c.create),
            ("checkout.sessions.retrieve", "GET", "/checkout/sessions/{session}", c.retrieve),
            ("checkout.sessions.expire", "POST", "/checkout/sessions/{session}/expire",
             c.expire_session),
            ("payment_intents.create", "POST", "/payment_intents", p.create),
            ("payment_intents.list", "GET", "/payment_intents", p.list_intents),
            ("payment_intents.retrieve", "GET", "/payment_intents/{intent}", p.retrieve),
            ("payment_intents.confirm", "POST", "/payment_intents/{intent}/confirm", p.confirm),
            ("payment_intents.cancel", "POST", "/payment_intents/{intent}/cancel", p.cancel),
            ("charges.list", "GET", "/charges", p.list_charges),
            ("charges.retrieve", "GET", "/charges/{charge}", p.retrieve_charge),
            ("refunds.create", "POST", "/refunds", r.create),
            ("refunds.list", "GET", "/refunds", r.list_refunds),
            ("refunds.retrieve", "GET", "/refunds/{refund}", r.retrieve),
            ("events.list", "GET", "/events", self.events.list_events),
            ("disputes.list", "GET", "/disputes", d.list_disputes),
            ("disputes.retrieve", "GET", "/disputes/{dispute}", d.retrieve),
            ("disputes.close", "POST", "/disputes/{dispute}/close", d.close_by_merchant),
            ("invoice_payments.list", "GET", "/invoice_payments", d.list_invoice_payments),
        ]  # fmt: skip

    def _route(self, operation: str, method: str, path: str, answer: Operation) -> Route:
        async def handle(request: Request, call: Call) -> Response:
            return await self._handle(request, call, answer)

        async def endpoint(request: Request) -> Response:
            return await self.core.serve("stripe", operation, request, handle, server_error_body)

        return Route("/v1" + path, endpoint, methods=[method])

    async def _handle(self, request: Request, call: Call, answer: Operation) -> Response:
        request_id = new_id("req_", 14)
        raw = (await request.body()).decode() or request.url.query
        headers = {"Request-Id": request_id, "Stripe-Version": API_VERSION}
        try:
            self._check_caller(request)
            root_path = request.scope["root_path"]
            self.world.base_url = f"{request.url.scheme}://{request.url.netloc}{root_path}"
            key = request.headers.get("idempotency-key") if request.method == "POST" else None
            kept = self._kept_answer(key, request.url.path, raw)
            if kept is not None:
                replayed = {**headers, "Idempotent-Replayed": "true"}
                return JSONResponse(kept["body"], kept["status"], replayed)
            self.world.origin = Origin(request_id, key)
            status, body = self._answer(answer, decode(raw), call, request.path_params)
        except Refusal as refusal:
            return JSONResponse(refusal.body, refusal.status, headers)
        if key is not None:
            self.world.all("idempotency")[key] = {
                "path": request.url.path, "raw": raw, "status": status, "body": body,
            }  # fmt: skip
        if request.method != "GET":
            self.core.save()
        return JSONResponse(body, status, headers)

    def _answer(
        self, answer: Operation, params: Params, call: Call, path_params: dict[str, Any]
    ) -> tuple[int, Object]:
        """An executed request, declined ones included; refusals before that are raised."""
        try:
            entity = answer(params, call, **path_params)
        except Refusal as refusal:
            if not refusal.executed:
                raise
            return refusal.status, refusal.body
        if entity.get("object") == "list":
            return 200, entity
        return 200, self.world.render(entity, strings(params, "expand"))

    async def _page(self, request: Request) -> Response:
        """What the customer sees of a session; pressing the button pays by card."""
        await self.core.settle_time()
        self.world.origin = Origin()
        session = self.checkout.sessions.get(request.path_params["session"])
        if session is None:
            return page.unknown("Stripe")
        if request.method == "POST":
            paid = self.checkout.pay(session["id"])["status"] == "paid"
            self.core.save()
            if paid:
                url = session["success_url"].replace("{CHECKOUT_SESSION_ID}", session["id"])
                return page.leave(url)
        amount, currency = session["amount_total"], session["currency"]
        return page.show("Stripe", session["_name"], amount, currency, session["status"])

    def _check_caller(self, request: Request) -> None:
        expected = f"Bearer {self.core.config.stripe_api_key}"
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), expected.encode()):
            raise Refusal(401, "Invalid API Key provided.")
        version = request.headers.get("stripe-version", API_VERSION)
        if version != API_VERSION:
            raise Refusal(400, f"The sandbox speaks only {API_VERSION}, not {version}.")

    def _kept_answer(self, key: str | None, path: str, raw: str) -> Object | None:
        """The answer that was given under this key before; another request is refused."""
        kept = self.world.all("idempotency").get(key) if key is not None else None
        if kept is None:
            return None
        if (kept["path"], kept["raw"]) != (path, raw):
            raise Refusal(
                400,
                "Keys for idempotent requests can only be used with the same endpoint and the "
                "same parameters they were first used with.",
                error_type="idempotency_error",
            )
        return dict(kept)


def _outcome(reference: str, intent: Object) -> dict[str, Any]:
    return {
        "provider": "stripe",
        "reference": reference,
        "payment_intent": intent["id"],
        "status": intent["status"],
    }
