"""From the inbox to the workflows: together, at once, again and again until it is applied."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text, update
from temporalio.service import RPCError
from temporalio.worker import Worker

from api.clock import now
from api.dispatcher import Dispatcher
from api.inbox_statements import BEHIND_ALL_MAX, BEHIND_EACH, CLAIM, RESEND_AFTER
from models.events import EventKind
from models.storage.tables import Payment, WebhookEvent, new_id
from tests.api.dispatching import (
    apply,
    dispatching,
    heard,
    inbox_row,
    make_due,
    start_payment,
    start_subscription,
)
from tests.api.support import (
    Api,
    attempt,
    event,
    eventually,
    invoice,
    open_voucher,
    organization,
    paid,
    plan,
    refund_event,
    stripe_webhook,
    subscription,
)


async def test_a_webhook_reaches_its_workflow_at_once(api: Api, worker: Worker) -> None:
    """Money that went back is followed by a workflow of its own, whoever lives and whoever has ended."""
    row, _, slip = await open_voucher(api)
    async with dispatching(api):
        answer = await api.anyone.post(
            "/api/v1/webhooks/stripe", **stripe_webhook(refund_event(slip))
        )
        assert answer.status_code == 200
        [inbox] = await eventually(
            lambda: api.all(select(WebhookEvent).where(WebhookEvent.workflow_id.is_not(None)))
        )
    assert (inbox.attempts, inbox.workflow_id) == (1, f"late/{inbox.id}")
    handle = api.temporal.get_workflow_handle(inbox.workflow_id)
    assert await handle.result() == [f"charge.refunded of {row.id}"]
    assert inbox.applied_at is None


async def test_events_of_one_workflow_travel_together_in_order(api: Api, worker: Worker) -> None:
    _, _, slip = await open_voucher(api)
    _, _, other_slip = await open_voucher(api)
    handles = [await start_payment(api, slip), await start_payment(api, other_slip)]
    ids = [await api.take(paid(slip)) for _ in range(5)]
    other_id = await api.take(paid(other_slip))

    assert await Dispatcher(api.context).run_once() == 6

    assert await heard(handles[0]) == [ids]
    assert await heard(handles[1]) == [[other_id]]


async def test_what_is_not_applied_is_sent_again(api: Api, worker: Worker) -> None:
    _, _, slip = await open_voucher(api)
    handle = await start_payment(api, slip)
    row_id = await api.take(paid(slip))
    dispatcher = Dispatcher(api.context)

    for tries, wait in enumerate(RESEND_AFTER[:3], start=1):
        assert await dispatcher.run_once() == 1
        assert await dispatcher.run_once() == 0
        (inbox,) = await api.inbox()
        assert inbox.attempts == tries
        assert wait - timedelta(seconds=1) < inbox.next_dispatch_at - now() <= wait
        await make_due(api)

    await apply(api, row_id)
    assert await dispatcher.run_once() == 0
    assert await heard(handle) == [[row_id]] * 3


async def test_what_waits_behind_many_is_not_sent_again_too_soon(api: Api) -> None:
    """Ten milliseconds for each that is on its way, eight seconds at most; what is parked for an hour, or
    has not been claimed yet, is not on its way."""
    on_its_way = [inbox_row(event(EventKind.LOOK)) for _ in range(200)]
    for row in on_its_way:
        row.attempts, row.next_dispatch_at = 1, now() + timedelta(seconds=5)
    others = [inbox_row(event(EventKind.LOOK)) for _ in range(2)]
    others[0].attempts, others[0].next_dispatch_at = 6, now() + timedelta(hours=1)
    others[1].next_dispatch_at = now() + timedelta(seconds=5)
    due = [inbox_row(event(EventKind.LOOK)) for _ in range(101)]
    await api.add(*on_its_way, *others, *due)

    assert await claimed(api) == {row.id for row in due}
    told = {row.next_dispatch_at for row in await api.inbox() if row.id in {d.id for d in due}}
    [told_at] = told
    wait = RESEND_AFTER[0] + 300 * BEHIND_EACH
    assert wait - timedelta(seconds=1) < told_at - now() <= wait

    await api.add(*(inbox_row(event(EventKind.LOOK)) for _ in range(900)))
    for _ in range(5):
        await claimed(api)
    latest = max(row.next_dispatch_at for row in await api.inbox() if row.attempts == 1)
    wait = RESEND_AFTER[0] + BEHIND_ALL_MAX
    assert wait - timedelta(seconds=1) < latest - now() <= wait


async def claimed(api: Api) -> set[UUID]:
    async with api.context.sessions.begin() as session:
        return {row.id for row in await session.execute(CLAIM)}


async def test_the_running_dispatcher_wakes_for_what_becomes_due(api: Api, worker: Worker) -> None:
    row, _, _ = await open_voucher(api, status="past_due")
    handle = await start_subscription(api, row)
    async with dispatching(api):
        delayed = await api.take(event(EventKind.LOOK, subscription_id=str(row.id)))
        assert await eventually(lambda: heard(handle)) == [[delayed]]
    (inbox,) = await api.inbox()
    assert inbox.received_at + timedelta(seconds=1) <= now()


async def test_a_payment_that_is_over_is_heard_by_its_subscription(
    api: Api, worker: Worker
) -> None:
    row, _, slip = await open_voucher(api)
    payment, parent = await start_payment(api, slip), await start_subscription(api, row)
    await payment.signal("finish")
    await payment.result()

    row_id = await api.take(paid(slip))
    await Dispatcher(api.context).run_once()

    assert await heard(parent) == [[row_id]]


async def test_a_payment_that_never_was_is_heard_by_its_subscription(
    api: Api, worker: Worker
) -> None:
    row, _, slip = await open_voucher(api)
    parent = await start_subscription(api, row)
    row_id = await api.take(paid(slip))
    await Dispatcher(api.context).run_once()
    assert await heard(parent) == [[row_id]]


@pytest.mark.parametrize("remembered", [True, False])
async def test_what_comes_after_the_end_starts_a_workflow_of_its_own(
    api: Api, worker: Worker, remembered: bool
) -> None:
    """Also when Temporal has forgotten the workflow, and also when it is sent twice."""
    row, _, slip = await open_voucher(api, status="active" if remembered else "canceled")
    if remembered:
        handle = await start_subscription(api, row)
        await handle.terminate()
    stranger = str(uuid4())
    row_id = await api.take(paid(slip, subscription_id=stranger))
    dispatcher = Dispatcher(api.context)
    await dispatcher.run_once()
    await make_due(api)
    await dispatcher.run_once()

    late = api.temporal.get_workflow_handle(f"late/{row_id}", result_type=list[str])
    assert await late.result() == [f"payment.succeeded of {row.id}"]


async def test_a_subscription_that_has_not_started_keeps_its_events(
    api: Api, worker: Worker
) -> None:
    row, _, slip = await open_voucher(api, status="incomplete", version=0)
    row_id = await api.take(paid(slip))
    dispatcher = Dispatcher(api.context)
    await dispatcher.run_once()
    (inbox,) = await api.inbox()
    assert (inbox.applied_at, inbox.last_error) == (None, "its workflow has not started")

    handle = await start_subscription(api, row)
    await make_due(api)
    await dispatcher.run_once()
    assert await heard(handle) == [[row_id]]


async def test_the_workflow_is_told_the_subscription_that_our_rows_name(
    api: Api, worker: Worker
) -> None:
    row, _, slip = await open_voucher(api)
    handle = await start_subscription(api, row)
    await api.take(paid(slip, subscription_id=str(uuid4())))
    await Dispatcher(api.context).run_once()
    assert await handle.query("said") == [f"payment.succeeded of {row.id}"]


async def test_strangers_events_are_settled_after_some_tries(api: Api) -> None:
    await api.take(event(EventKind.LOOK, provider_payment_id="pi_stranger"))
    dispatcher = Dispatcher(api.context)
    for _ in range(3):
        await make_due(api)
        (inbox,) = await api.inbox()
        assert inbox.applied_at is None
        await dispatcher.run_once()
    (inbox,) = await api.inbox()
    assert (inbox.disposition, inbox.attempts) == ("not_ours", 3)


async def test_what_names_an_unknown_subscription_stays_in_sight(api: Api) -> None:
    await api.take(event(EventKind.LOOK, subscription_id=str(uuid4())))
    await api.run(update(WebhookEvent).values(received_at=now() - timedelta(days=2), attempts=30))
    await make_due(api)
    await Dispatcher(api.context).run_once()
    (inbox,) = await api.inbox()
    assert (inbox.applied_at, inbox.last_error) == (None, "no such subscription")
    assert inbox.next_dispatch_at > now() + timedelta(minutes=59)


async def test_an_early_bird_waits_for_its_row(api: Api, worker: Worker) -> None:
    who, what = organization(api.ours), plan(api.ours)
    row = subscription(who, what)
    bill = invoice(row)
    slip = attempt(bill)
    row_id = await api.take(paid(slip))
    dispatcher = Dispatcher(api.context)
    await dispatcher.run_once()
    await api.add(who, what, row, bill, slip)
    handle = await start_payment(api, slip)
    await make_due(api)
    await dispatcher.run_once()
    assert await heard(handle) == [[row_id]]


async def test_what_is_booked_already_troubles_no_workflow(api: Api) -> None:
    row, bill, slip = await open_voucher(api)
    money = Payment(
        id=new_id(),
        application_id=row.application_id,
        subscription_id=row.id,
        invoice_id=bill.id,
        attempt_id=slip.id,
        provider="stripe",
        account="default",
        provider_charge_id="ch_1",
        kind="capture",
        amount_minor=19900,
        applied_minor=19900,
        currency="MXN",
        occurred_at=now(),
        recorded_at=now(),
    )
    await api.add(money)
    await api.take(paid(slip, "ch_1"))
    await Dispatcher(api.context).run_once()
    (inbox,) = await api.inbox()
    assert inbox.disposition == "nothing_new"
    assert inbox.applied_at is not None
    assert inbox.workflow_id is None


async def test_a_row_that_cannot_be_read_stops_nobody(api: Api, worker: Worker) -> None:
    _, _, slip = await open_voucher(api)
    handle = await start_payment(api, slip)
    broken = await api.take(event(EventKind.LOOK))
    await api.run(update(WebhookEvent).values(event={"odd": True}))
    row_id = await api.take(paid(slip))
    await make_due(api)
    await Dispatcher(api.context).run_once()

    (inbox,) = await api.inbox(broken)
    assert (inbox.last_error, inbox.applied_at) == ("unreadable", None)
    assert await heard(handle) == [[row_id]]


async def test_a_row_on_which_judging_fails_stops_nobody(api: Api, worker: Worker) -> None:
    """What was never thought of: here the database refuses to write down whose one event is."""
    _, _, slip = await open_voucher(api)
    handle = await start_payment(api, slip)
    poison = await api.take(paid(slip, "ch_1"))
    sound = await api.take(paid(slip, "ch_2"))
    refuse = "BEGIN RAISE 'refused'; END"
    await api.run(
        text(f"CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $${refuse}$$")
    )
    await api.run(
        text(
            "CREATE TRIGGER poison BEFORE UPDATE OF workflow_id ON webhook_events FOR EACH ROW"
            f" WHEN (NEW.id = '{poison}') EXECUTE FUNCTION poison()"
        )
    )
    try:
        await Dispatcher(api.context).run_once()
    finally:
        await api.run(text("DROP FUNCTION poison CASCADE"))

    assert await heard(handle) == [[sound]]
    (inbox,) = await api.inbox(poison)
    assert inbox.last_error == "cannot be judged: DBAPIError"
    await make_due(api)
    await Dispatcher(api.context).run_once()
    assert poison in (await heard(handle))[1]


async def test_two_dispatchers_claim_every_row_once(api: Api, worker: Worker) -> None:
    _, _, slip = await open_voucher(api)
    handle = await start_payment(api, slip)
    template = paid(slip)
    copies = [
        template.model_copy(update={"provider_event_id": f"evt_{number}"}) for number in range(450)
    ]
    await api.add(*(inbox_row(copy) for copy in copies))
    dispatchers = [Dispatcher(api.context), Dispatcher(api.context)]
    while any(await asyncio.gather(*(one.run_once() for one in dispatchers))):
        pass

    found = [row_id for batch in await heard(handle) for row_id in batch]
    assert len(found) == len(set(found)) == 450
    assert await api.all(select(func.max(WebhookEvent.attempts))) == [1]


async def test_nothing_was_started_for_a_stranger(api: Api, worker: Worker) -> None:
    stranger = uuid4()
    await api.take(event(EventKind.LOOK, subscription_id=str(stranger)))
    await make_due(api)
    await Dispatcher(api.context).run_once()
    with pytest.raises(RPCError):
        await api.temporal.get_workflow_handle(f"subscription/{stranger}").describe()
