"""What a subscription does about a dispute of one of its payments. The rules are in models/disputes.py."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from models.billing_policy import OnDispute
    from models.commands import DisputeNews
    from models.disputes import note_dispute, risk_of
    from workflows.collecting import BillingClockSteps
    from workflows.desk import Desk
    from workflows.options import RISK_KEY
    from workflows.step_changes import ENGINE_ACTOR


async def answer_dispute(desk: Desk, clock: BillingClockSteps, news: DisputeNews) -> None:
    """Mark the subscription while a dispute is open, and do once what its plan says. A dispute that is won
    takes nothing back: who disputed a payment and wants to stay can be resumed."""
    before = risk_of(desk.state)
    applies = note_dispute(desk.state, str(news.dispute_id), news.status)
    desk.touch()
    risk = risk_of(desk.state)
    if risk != before:
        workflow.upsert_search_attributes(
            [RISK_KEY.value_unset() if risk is None else RISK_KEY.value_set(risk)]
        )
    if not applies or desk.over:
        return
    rule = desk.terms.policy.on_dispute
    scheduled = desk.state.cancel_at_period_end or desk.state.cancel_requested
    if rule is OnDispute.CANCEL_NOW:
        await clock.cancel(immediately=True, actor=ENGINE_ACTOR)
    elif rule is OnDispute.CANCEL_AT_PERIOD_END and not scheduled:
        await clock.cancel(immediately=False, actor=ENGINE_ACTOR)
