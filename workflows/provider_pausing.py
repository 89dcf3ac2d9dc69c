"""Pausing a subscription that its provider bills, and going on with it.

The provider is paused as soon as the pause is agreed on, so whatever happens to us, it bills no more.
"""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.signatures.subscriptions import SubscriptionCalls
    from models.commands import Pause
    from models.snapshots import SubscriptionSnapshot
    from models.states import InvoiceStatus, SubscriptionEvent, SubscriptionStatus
    from workflows import pausing
    from workflows.desk import Desk
    from workflows.provider_attempts import ProviderAttempts
    from workflows.provider_changing import ProviderChanges
    from workflows.provider_following import ProviderFollower
    from workflows.step_changes import ENGINE_ACTOR


class ProviderPauses:
    def __init__(
        self,
        desk: Desk,
        attempts: ProviderAttempts,
        changes: ProviderChanges,
        follower: ProviderFollower,
    ) -> None:
        self._desk = desk
        self._attempts = attempts
        self._changes = changes
        self._follower = follower

    async def pause(self, command: Pause) -> None:
        """Read first: it may have been billed in this very moment."""
        desk = self._desk
        pausing.refuse_pause(desk, command, busy=self._attempts.busy)
        if not desk.state.is_held:
            await self._follower.look()
            await desk.commit()
            if desk.over:
                raise pausing.conflict(f"the subscription is {desk.state.status}")
            pausing.refuse_pause(desk, command, busy=self._attempts.busy)
            await self._changes.make_way(command.actor)
        reference = self._follower.reference()
        if reference is not None and not desk.state.is_held:
            snapshot = await pausing.ask(
                SubscriptionCalls.pause_subscription, reference, "pause at the provider"
            )
            if snapshot.latest_invoice is not None:
                self._follower.apply_invoice(snapshot.latest_invoice)
        pausing.begin(desk, command)

    async def end(self, actor: str) -> None:
        """Within what was paid for as if nothing had been; else a new period is billed."""
        desk, state, reference = self._desk, self._desk.state, self._follower.reference()
        paid, begun = pausing.still_paid(state), state.status is SubscriptionStatus.PAUSED
        snapshot = None
        if reference is not None:
            asked = pausing.resume_reference(reference, new_period=not paid)
            snapshot = await pausing.ask(
                SubscriptionCalls.resume_subscription, asked, "resume at the provider"
            )
        if not begun:
            pausing.unschedule(desk, actor)
        elif paid:
            pausing.leave(desk, SubscriptionEvent.RESUMED, actor)
        elif snapshot is not None:
            self._collect_new_period(snapshot, actor)

    async def end_by_itself(self) -> None:
        """A refusal must not end the subscription: it stays paused, and a person sees why."""
        try:
            await self.end(ENGINE_ACTOR)
        except ApplicationError as refusal:
            self._desk.state.resume_at = None
            self._desk.audit(ENGINE_ACTOR, "resume.refused", {}, {"reason": refusal.message})
            self._desk.emit("subscription.resume_failed", reason=refusal.message)
            await self._follower.look()

    def _collect_new_period(self, snapshot: SubscriptionSnapshot, actor: str) -> None:
        """Its invoice is open and waits for us, was charged already, or comes by the provider's clock."""
        desk, latest = self._desk, snapshot.latest_invoice
        if latest is not None and self._follower.is_untried(latest):
            desk.state.resume_at = None
            desk.state.invoice = invoice = self._follower.open_invoice(latest)
            desk.invoice(invoice, InvoiceStatus.PENDING)
            self._attempts.collect(invoice)  # What comes of it ends the pause: see `take_news`.
            return
        self._follower.apply_subscription(snapshot)
        if not desk.over:
            self._follower.leave_pause(actor)
