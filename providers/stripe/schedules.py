"""A change that Stripe makes by itself when a period ends: subscription schedules.

Two calls: the subscription is put under a schedule, which by itself changes nothing and lets go of it when
the period ends; then the schedule is told what comes after. Both carry a key of ours, and both can be read
back from the subscription, so a lost answer is asked for and a half-made schedule is completed or released.

What such a subscription refuses while it is under a schedule (Stripe's messages, seen by others): "updating
any cancelation behavior directly", a second schedule, a pause. Whoever wants one of these releases it first.
The schedule stays for the first period of the new price, and then completes by itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

import stripe
from stripe.params import SubscriptionScheduleUpdateParams

from providers.drafts import SubscriptionChange
from providers.failures import FailureKind, ProviderFailure
from providers.stripe import mapping
from providers.stripe.calls import calling, keyed
from providers.stripe.prices import INTERVAL

OURS = "change"

Answer = TypeVar("Answer")


class Schedules:
    def __init__(self, client: stripe.StripeClient) -> None:
        self._v1 = client.v1

    async def hold(self, found: stripe.Subscription, change: SubscriptionChange) -> None:
        """Have Stripe make the change when the period ends; `found` with its schedule expanded."""
        item = found.items.data[0]
        if found.status != "active" or mapping.instant(item.current_period_end) != change.begins_at:
            raise _rejected("the subscription's period does not end then")
        schedule = attached(found)
        if schedule is None:
            with calling(found.id):
                schedule = await self._v1.subscription_schedules.create_async(
                    {"from_subscription": found.id}, _key("schedule", change)
                )
        elif not is_ours(schedule):
            raise _rejected("the subscription is under a schedule that was made elsewhere")
        if brings(schedule, change):
            return
        try:
            with calling(found.id):
                await self._v1.subscription_schedules.update_async(
                    schedule.id, _phases(found, schedule, change), _key("phases", change)
                )
        except ProviderFailure as failure:
            if failure.kind is FailureKind.REJECTED:
                await self.release(schedule.id)
            raise

    async def release(self, schedule_id: str) -> None:
        """The subscription stays as it is; one that is over already is fine."""
        try:
            with calling(schedule_id):
                await self._v1.subscription_schedules.release_async(schedule_id)
        except ProviderFailure as failure:
            if failure.kind is not FailureKind.REJECTED:
                raise
            with calling(schedule_id):
                found = await self._v1.subscription_schedules.retrieve_async(schedule_id)
            if found.status in {"active", "not_started"}:
                raise

    async def charge_with(self, subscription_id: str, payment_method_id: str) -> None:
        """A schedule remembers the card, and would set it again when the next phase begins."""
        schedule = await self._of(subscription_id)
        if schedule is not None and is_ours(schedule):
            with calling(schedule.id):
                await self._v1.subscription_schedules.update_async(
                    schedule.id, {"default_settings": {"default_payment_method": payment_method_id}}
                )

    async def making_way(
        self, subscription_id: str, act: Callable[[], Awaitable[Answer]], *, foreign: bool = False
    ) -> Answer:
        """`act`, and once more without the schedule if that is what refused it. `foreign`: also when the
        schedule was made elsewhere, for what ends a subscription ends every plan for it."""
        try:
            return await act()
        except ProviderFailure as failure:
            if failure.kind is not FailureKind.REJECTED:
                raise
            schedule = await self._of(subscription_id)
            if schedule is None or not (foreign or is_ours(schedule)):
                raise
        await self.release(schedule.id)
        return await act()

    async def _of(self, subscription_id: str) -> stripe.SubscriptionSchedule | None:
        with calling(subscription_id):
            return attached(
                await self._v1.subscriptions.retrieve_async(
                    subscription_id, {"expand": ["schedule"]}
                )
            )


def attached(found: stripe.Subscription) -> stripe.SubscriptionSchedule | None:
    """The schedule that the subscription is under; it has to be expanded."""
    return cast("stripe.SubscriptionSchedule | None", found.schedule)


def is_ours(schedule: stripe.SubscriptionSchedule) -> bool:
    """Made here, or half-made: it has one phase, which is what there is already."""
    return mapping.our(schedule.metadata, mapping.KIND) == OURS or len(schedule.phases) == 1


def brings(schedule: stripe.SubscriptionSchedule, change: SubscriptionChange) -> bool:
    """Whether what is wanted is what the schedule has for after the phase that runs."""
    coming = _coming(schedule)
    if coming is None or (
        change.begins_at and mapping.instant(coming.start_date) != change.begins_at
    ):
        return False
    wanted = (change.provider_plan_id, change.quantity)
    return [(mapping.reference(one.price), one.quantity) for one in coming.items] == [wanted]


def has_more(schedule: stripe.SubscriptionSchedule) -> bool:
    """Whether it is still to change something."""
    return _coming(schedule) is not None


def _coming(
    schedule: stripe.SubscriptionSchedule,
) -> stripe.SubscriptionSchedule.Phase | None:
    now = schedule.current_phase
    later = [one for one in schedule.phases if now is None or one.start_date >= now.end_date]
    return later[0] if later else None


def _phases(
    found: stripe.Subscription,
    schedule: stripe.SubscriptionSchedule,
    change: SubscriptionChange,
) -> SubscriptionScheduleUpdateParams:
    """What runs, kept to the end of its period, and then what is wanted; nothing is prorated."""
    item = found.items.data[0]
    now = schedule.current_phase
    params: SubscriptionScheduleUpdateParams = {
        "end_behavior": "release",
        "proration_behavior": "none",
        "metadata": {mapping.KIND: OURS},
        "phases": [
            {
                "items": [{"price": item.price.id, "quantity": item.quantity or 1}],
                "start_date": now.start_date if now else item.current_period_start,
                "end_date": item.current_period_end,
                "proration_behavior": "none",
            },
            {
                "items": [{"price": change.provider_plan_id, "quantity": change.quantity}],
                "duration": {
                    "interval": INTERVAL[change.billing_interval],
                    "interval_count": 1,
                },
                "proration_behavior": "none",
            },
        ],
    }
    method_id = mapping.reference(found.default_payment_method)
    if method_id is not None:
        params["default_settings"] = {"default_payment_method": method_id}
    return params


def _key(kind: str, change: SubscriptionChange) -> stripe.RequestOptions:
    """With the price, for an archived one is replaced and the change sent again."""
    return keyed(kind, f"{change.change_id}:{change.provider_plan_id}")


def _rejected(message: str) -> ProviderFailure:
    return ProviderFailure(FailureKind.REJECTED, message, code="not_schedulable")
