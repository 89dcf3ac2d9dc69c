"""Every act of the protocol that has an effect: how to come to where it is possible, and how to ask for it.

An act is asked for twice in the tests: as staged, where the matrix says yes, and with ids that nobody made,
where it says no (a refusal must not depend on what the caller has).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from models.calendar import BillingInterval
from models.outcomes import Instrument
from providers.capabilities import Capability
from providers.drafts import ChangeDraft, PreparedSubscription, SubscriptionChange
from providers.failures import FailureKind
from providers.protocol import PaymentProvider
from tests.providers.contract.bench import Bench, unknown_id

# Asks a provider for the act; `retry` says that it was asked before.
Ask = Callable[[PaymentProvider, bool], Awaitable[Any]]


@dataclass(frozen=True)
class Act:
    """`unknown` is the failure that a lost answer becomes: not every lost answer may be about money."""

    name: str
    method: str
    needs: Capability | None
    staged: Callable[[Bench], Awaitable[Ask]]
    bare: Callable[[Bench], Ask]
    unknown: FailureKind = FailureKind.UNKNOWN

    def __str__(self) -> str:
        return self.name


CUSTOMER, CARD, PAYMENT = unknown_id("cus"), unknown_id("pm"), unknown_id("pay")
SUBSCRIPTION, INVOICE, PRODUCT = unknown_id("sub"), unknown_id("in"), unknown_id("prod")
BENEFIT = unknown_id("benefit")
CHANGED_MINOR = 45000


# What each act is asked with.


def ensure_customer(bench: Bench) -> Ask:
    draft = bench.customer_draft()
    return lambda provider, retry: provider.ensure_customer(draft, retry=retry)


def attach(bench: Bench, customer_id: str = CUSTOMER) -> Ask:
    request = bench.card_request(customer_id)
    return lambda provider, _retry: provider.attach_payment_method(request)


def detach(_bench: Bench, customer_id: str = CUSTOMER, method_id: str = CARD) -> Ask:
    return lambda provider, _retry: provider.detach_payment_method(customer_id, method_id)


def create_setup(bench: Bench) -> Ask:
    draft = bench.setup_draft()
    return lambda provider, _retry: provider.create_setup(draft)


def change_card(
    _bench: Bench,
    customer_id: str = CUSTOMER,
    subscription_id: str = SUBSCRIPTION,
    method_id: str = CARD,
) -> Ask:
    return lambda provider, _retry: provider.change_payment_method(
        customer_id, subscription_id, method_id
    )


def ensure_plan(bench: Bench) -> Ask:
    draft = bench.plan_draft()
    return lambda provider, _retry: provider.ensure_plan(draft)


def prepare_subscription(bench: Bench) -> Ask:
    draft = bench.subscription_draft(CUSTOMER)
    return lambda provider, retry: provider.prepare_subscription(draft, retry=retry)


def commit_subscription(bench: Bench) -> Ask:
    draft = bench.subscription_draft(CUSTOMER)
    prepared = PreparedSubscription(
        provider_subscription_id=SUBSCRIPTION, provider_invoice_id=INVOICE
    )
    return lambda provider, _retry: provider.commit_subscription(draft, prepared)


def cancel_subscription(
    _bench: Bench,
    customer_id: str = CUSTOMER,
    subscription_id: str = SUBSCRIPTION,
    *,
    at_period_end: bool = False,
) -> Ask:
    return lambda provider, _retry: provider.cancel_subscription(
        customer_id, subscription_id, at_period_end=at_period_end
    )


def cancel_at_period_end(bench: Bench) -> Ask:
    return cancel_subscription(bench, at_period_end=True)


def keep(_bench: Bench, customer_id: str = CUSTOMER, subscription_id: str = SUBSCRIPTION) -> Ask:
    return lambda provider, _retry: provider.keep_subscription(customer_id, subscription_id)


def pause(_bench: Bench, customer_id: str = CUSTOMER, subscription_id: str = SUBSCRIPTION) -> Ask:
    return lambda provider, _retry: provider.pause_subscription(customer_id, subscription_id)


def resume(bench: Bench, customer_id: str = CUSTOMER, subscription_id: str = SUBSCRIPTION) -> Ask:
    resume_id = bench.new_id()
    return lambda provider, _retry: provider.resume_subscription(
        customer_id, subscription_id, new_period=False, resume_id=resume_id
    )


def retry_invoice(bench: Bench, invoice_id: str = INVOICE) -> Ask:
    attempt_id = bench.new_id()
    return lambda provider, _retry: provider.retry_invoice(
        invoice_id, attempt_id=attempt_id, provider_payment_method_id=None
    )


def prepare_change(bench: Bench, customer_id: str = CUSTOMER, method_id: str = CARD) -> Ask:
    draft = change_draft(bench, customer_id, method_id)
    return lambda provider, retry: provider.prepare_change(draft, retry=retry)


def commit_change(bench: Bench) -> Ask:
    draft = change_draft(bench, CUSTOMER, CARD)
    return lambda provider, _retry: provider.commit_change(draft, INVOICE)


def cancel_invoice(_bench: Bench, invoice_id: str = INVOICE) -> Ask:
    return lambda provider, _retry: provider.cancel_invoice(invoice_id)


def change_draft(bench: Bench, customer_id: str, method_id: str) -> ChangeDraft:
    return ChangeDraft(
        attempt_id=bench.new_id(),
        subscription_id=bench.new_id(),
        invoice_id=bench.new_id(),
        provider_customer_id=customer_id,
        provider_payment_method_id=method_id,
        lines=(("Unused time on Pro", -5000), ("Remaining time on 5 × Pro", 25000)),
        amount_minor=20000,
        currency=bench.profile.currency,
    )


def change_plan(
    bench: Bench,
    customer_id: str = CUSTOMER,
    subscription_id: str = SUBSCRIPTION,
    plan_id: str = PRODUCT,
    *,
    interval: BillingInterval = BillingInterval.MONTHLY,
    restart: bool = False,
    begins_at: datetime | None = None,
) -> Ask:
    change = SubscriptionChange(
        change_id=bench.new_id(),
        provider_customer_id=customer_id,
        provider_subscription_id=subscription_id,
        provider_plan_id=plan_id,
        billing_interval=interval,
        amount_minor=CHANGED_MINOR * 2,
        quantity=2,
        currency=bench.profile.currency,
        restart=restart,
        begins_at=begins_at,
        credit_minor=0 if begins_at else 700,
    )
    return lambda provider, _retry: provider.change_subscription(change)


def change_interval(bench: Bench) -> Ask:
    return change_plan(bench, interval=BillingInterval.YEARLY, restart=True)


def change_plan_later(bench: Bench) -> Ask:
    return change_plan(bench, begins_at=datetime.now(UTC).replace(microsecond=0))


def change_interval_later(bench: Bench) -> Ask:
    now = datetime.now(UTC).replace(microsecond=0)
    return change_plan(bench, interval=BillingInterval.YEARLY, begins_at=now)


def prepare_payment(instrument: Instrument) -> Callable[[Bench], Ask]:
    def ask(bench: Bench) -> Ask:
        draft = bench.payment_draft(CUSTOMER, instrument)
        return lambda provider, retry: provider.prepare_payment(draft, retry=retry)

    return ask


def commit_payment(instrument: Instrument) -> Callable[[Bench], Ask]:
    def ask(bench: Bench) -> Ask:
        draft = bench.payment_draft(CUSTOMER, instrument)
        return lambda provider, _retry: provider.commit_payment(draft, PAYMENT)

    return ask


def cancel_payment(_bench: Bench, payment_id: str = PAYMENT) -> Ask:
    return lambda provider, _retry: provider.cancel_payment(payment_id)


def refund(bench: Bench, payment_id: str = PAYMENT) -> Ask:
    draft = bench.refund_draft(payment_id)
    return lambda provider, _retry: provider.refund(draft)


def accept_dispute(_bench: Bench, dispute_id: str = unknown_id("du")) -> Ask:
    return lambda provider, _retry: provider.accept_dispute(dispute_id)


def ensure_product(bench: Bench) -> Ask:
    draft = bench.product_draft()
    return lambda provider, retry: provider.ensure_product(draft, retry=retry)


def ensure_benefit(bench: Bench) -> Ask:
    draft = bench.benefit_draft()
    return lambda provider, retry: provider.ensure_benefit(draft, retry=retry)


def create_checkout(bench: Bench, customer_id: str = CUSTOMER, product_id: str = PRODUCT) -> Ask:
    draft = bench.checkout_draft(customer_id, product_id)
    return lambda provider, retry: provider.create_checkout(draft, retry=retry)


def grant(bench: Bench, customer_id: str = CUSTOMER, benefit_id: str = BENEFIT) -> Ask:
    draft = bench.grant_draft(customer_id, benefit_id)
    return lambda provider, retry: provider.grant_benefit(draft, retry=retry)


def revoke(bench: Bench) -> Ask:
    draft = bench.grant_draft(CUSTOMER, BENEFIT)
    return lambda provider, _retry: provider.revoke_benefit(draft)


# How to come to where each act is possible.


def at_once(ask: Callable[[Bench], Ask]) -> Callable[[Bench], Awaitable[Ask]]:
    async def staged(bench: Bench) -> Ask:
        return ask(bench)

    return staged


async def staged_attach(bench: Bench) -> Ask:
    return attach(bench, await bench.customer())


async def staged_detach(bench: Bench) -> Ask:
    customer_id = await bench.customer()
    return detach(bench, customer_id, await bench.card(customer_id))


async def staged_change_card(bench: Bench) -> Ask:
    running = await bench.subscribed()
    customer_id = running.provider_customer_id
    other_id = await bench.card(customer_id, bench.profile.other_token)
    return change_card(bench, customer_id, running.provider_subscription_id, other_id)


async def staged_prepare_subscription(bench: Bench) -> Ask:
    draft = await bench.ready_to_subscribe()
    return lambda provider, retry: provider.prepare_subscription(draft, retry=retry)


async def staged_commit_subscription(bench: Bench) -> Ask:
    draft = await bench.ready_to_subscribe()
    prepared = await bench.provider.prepare_subscription(draft)
    return lambda provider, _retry: provider.commit_subscription(draft, prepared)


async def staged_cancel(bench: Bench) -> Ask:
    running = await bench.subscribed()
    return cancel_subscription(
        bench, running.provider_customer_id, running.provider_subscription_id
    )


async def staged_cancel_at_period_end(bench: Bench) -> Ask:
    running = await bench.subscribed()
    return cancel_subscription(
        bench,
        running.provider_customer_id,
        running.provider_subscription_id,
        at_period_end=True,
    )


async def staged_keep(bench: Bench) -> Ask:
    running = await bench.subscribed()
    ids = (running.provider_customer_id, running.provider_subscription_id)
    await bench.provider.cancel_subscription(*ids, at_period_end=True)
    return keep(bench, *ids)


async def staged_pause(bench: Bench) -> Ask:
    running = await bench.subscribed()
    return pause(bench, running.provider_customer_id, running.provider_subscription_id)


async def staged_resume(bench: Bench) -> Ask:
    running = await bench.subscribed()
    ids = (running.provider_customer_id, running.provider_subscription_id)
    await bench.provider.pause_subscription(*ids)
    return resume(bench, *ids)


async def staged_retry(bench: Bench) -> Ask:
    _, invoice = await bench.unpaid_renewal()
    return retry_invoice(bench, invoice.provider_invoice_id)


async def staged_prepare_change(bench: Bench) -> Ask:
    customer_id = await bench.customer()
    return prepare_change(bench, customer_id, await bench.card(customer_id))


async def staged_commit_change(bench: Bench) -> Ask:
    customer_id = await bench.customer()
    draft = change_draft(bench, customer_id, await bench.card(customer_id))
    invoice_id = await bench.provider.prepare_change(draft)
    return lambda provider, _retry: provider.commit_change(draft, invoice_id)


async def staged_cancel_invoice(bench: Bench) -> Ask:
    customer_id = await bench.customer()
    draft = change_draft(bench, customer_id, await bench.card(customer_id))
    return cancel_invoice(bench, await bench.provider.prepare_change(draft))


async def staged_change_plan(bench: Bench) -> Ask:
    running = await bench.subscribed()
    plan = bench.plan_draft().model_copy(update={"amount_minor": CHANGED_MINOR})
    ids = (running.provider_customer_id, running.provider_subscription_id)
    return change_plan(bench, *ids, await bench.provider.ensure_plan(plan))


async def yearly_plan(bench: Bench) -> str:
    yearly = {"amount_minor": CHANGED_MINOR, "billing_interval": BillingInterval.YEARLY}
    return await bench.provider.ensure_plan(bench.plan_draft().model_copy(update=yearly))


async def staged_change_interval(bench: Bench) -> Ask:
    running = await bench.subscribed()
    ids = (running.provider_customer_id, running.provider_subscription_id)
    plan_id = await yearly_plan(bench)
    return change_plan(bench, *ids, plan_id, interval=BillingInterval.YEARLY, restart=True)


async def staged_change_plan_later(bench: Bench) -> Ask:
    running = await bench.subscribed()
    plan = bench.plan_draft().model_copy(update={"amount_minor": CHANGED_MINOR})
    ids = (running.provider_customer_id, running.provider_subscription_id)
    plan_id = await bench.provider.ensure_plan(plan)
    return change_plan(bench, *ids, plan_id, begins_at=running.current_period_end)


async def staged_change_interval_later(bench: Bench) -> Ask:
    running = await bench.subscribed()
    ids = (running.provider_customer_id, running.provider_subscription_id)
    plan_id, end = await yearly_plan(bench), running.current_period_end
    return change_plan(bench, *ids, plan_id, interval=BillingInterval.YEARLY, begins_at=end)


def staged_prepare_payment(instrument: Instrument) -> Callable[[Bench], Awaitable[Ask]]:
    async def staged(bench: Bench) -> Ask:
        draft = bench.payment_draft(await bench.customer(), instrument)
        return lambda provider, retry: provider.prepare_payment(draft, retry=retry)

    return staged


def staged_commit_payment(instrument: Instrument) -> Callable[[Bench], Awaitable[Ask]]:
    async def staged(bench: Bench) -> Ask:
        draft = bench.payment_draft(await bench.customer(), instrument)
        payment_id = await bench.provider.prepare_payment(draft)
        return lambda provider, _retry: provider.commit_payment(draft, payment_id)

    return staged


def staged_cancel_payment(instrument: Instrument) -> Callable[[Bench], Awaitable[Ask]]:
    async def staged(bench: Bench) -> Ask:
        _, issued = await bench.issued(instrument)
        return cancel_payment(bench, issued.provider_payment_id)

    return staged


async def staged_cancel_checkout(bench: Bench) -> Ask:
    _, page = await bench.page()
    return cancel_payment(bench, page.provider_payment_id)


async def staged_refund(bench: Bench) -> Ask:
    paid = await bench.refundable()
    return refund(bench, paid.provider_payment_id)


async def staged_checkout(bench: Bench) -> Ask:
    product_id = await bench.provider.ensure_product(bench.product_draft())
    return create_checkout(bench, await bench.customer(), product_id)


async def staged_accept(bench: Bench) -> Ask:
    return accept_dispute(bench, await bench.disputed())


async def staged_grant(bench: Bench) -> Ask:
    benefit_id = await bench.provider.ensure_benefit(bench.benefit_draft())
    return grant(bench, await bench.customer(), benefit_id)


async def staged_revoke(bench: Bench) -> Ask:
    benefit_id = await bench.provider.ensure_benefit(bench.benefit_draft())
    draft = bench.grant_draft(await bench.customer(), benefit_id)
    await bench.provider.grant_benefit(draft)
    return lambda provider, _retry: provider.revoke_benefit(draft)


OXXO, SPEI = Instrument.OXXO, Instrument.SPEI
C = Capability

ACTS = (
    Act("ensure_customer", "ensure_customer", None, at_once(ensure_customer), ensure_customer),
    Act("attach_payment_method", "attach_payment_method", C.CARD_PAYMENT_METHOD,
        staged_attach, attach),
    Act("detach_payment_method", "detach_payment_method", C.CARD_PAYMENT_METHOD,
        staged_detach, detach),
    Act("create_setup", "create_setup", C.BROWSER_SETUP, at_once(create_setup), create_setup),
    Act("change_payment_method", "change_payment_method", C.CHANGE_PAYMENT_METHOD,
        staged_change_card, change_card),
    Act("ensure_plan", "ensure_plan", C.CARD_SUBSCRIPTION, at_once(ensure_plan), ensure_plan),
    Act("prepare_subscription", "prepare_subscription", C.CARD_SUBSCRIPTION,
        staged_prepare_subscription, prepare_subscription),
    Act("commit_subscription", "commit_subscription", C.CARD_SUBSCRIPTION,
        staged_commit_subscription, commit_subscription),
    Act("cancel_subscription", "cancel_subscription", None, staged_cancel, cancel_subscription),
    Act("cancel_at_period_end", "cancel_subscription", C.CANCEL_AT_PERIOD_END,
        staged_cancel_at_period_end, cancel_at_period_end),
    Act("keep_subscription", "keep_subscription", C.CANCEL_AT_PERIOD_END, staged_keep, keep),
    Act("pause_subscription", "pause_subscription", C.PAUSE, staged_pause, pause),
    Act("resume_subscription", "resume_subscription", C.PAUSE, staged_resume, resume),
    Act("retry_invoice", "retry_invoice", C.RETRY_INVOICE, staged_retry, retry_invoice),
    Act("prepare_change", "prepare_change", C.PRORATE, staged_prepare_change, prepare_change),
    Act("commit_change", "commit_change", C.PRORATE, staged_commit_change, commit_change),
    Act("cancel_invoice", "cancel_invoice", C.PRORATE, staged_cancel_invoice, cancel_invoice),
    Act("change_plan", "change_subscription", C.CHANGE_PLAN, staged_change_plan, change_plan),
    Act("change_plan_later", "change_subscription", C.CHANGE_PLAN_LATER,
        staged_change_plan_later, change_plan_later),
    Act("change_interval", "change_subscription", C.CHANGE_INTERVAL, staged_change_interval,
        change_interval),
    Act("change_interval_later", "change_subscription", C.CHANGE_INTERVAL_LATER,
        staged_change_interval_later, change_interval_later),
    Act("prepare_voucher", "prepare_payment", C.CASH_VOUCHER,
        staged_prepare_payment(OXXO), prepare_payment(OXXO)),
    Act("commit_voucher", "commit_payment", C.CASH_VOUCHER,
        staged_commit_payment(OXXO), commit_payment(OXXO)),
    Act("cancel_voucher", "cancel_payment", C.CASH_VOUCHER,
        staged_cancel_payment(OXXO), prepare_payment(OXXO)),
    Act("prepare_transfer", "prepare_payment", C.BANK_TRANSFER,
        staged_prepare_payment(SPEI), prepare_payment(SPEI)),
    Act("commit_transfer", "commit_payment", C.BANK_TRANSFER,
        staged_commit_payment(SPEI), commit_payment(SPEI)),
    Act("cancel_transfer", "cancel_payment", C.BANK_TRANSFER,
        staged_cancel_payment(SPEI), prepare_payment(SPEI)),
    Act("refund", "refund", C.REFUND, staged_refund, refund),
    Act("accept_dispute", "accept_dispute", C.ACCEPT_DISPUTE, staged_accept, accept_dispute),
    Act("ensure_product", "ensure_product", C.PRODUCT, at_once(ensure_product), ensure_product),
    Act("create_checkout", "create_checkout", C.HOSTED_CHECKOUT, staged_checkout, create_checkout,
        unknown=FailureKind.UNAVAILABLE),
    Act("cancel_checkout", "cancel_payment", C.CANCEL_CHECKOUT,
        staged_cancel_checkout, create_checkout),
    Act("ensure_benefit", "ensure_benefit", C.BENEFIT, at_once(ensure_benefit), ensure_benefit),
    Act("grant_benefit", "grant_benefit", C.BENEFIT, staged_grant, grant),
    Act("revoke_benefit", "revoke_benefit", C.BENEFIT, staged_revoke, revoke),
)  # fmt: skip
