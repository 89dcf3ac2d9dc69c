"""What one step of a workflow changes, collected for one transaction.

Subscriptions and purchases share it: movements of money, tries elsewhere, the audit, what the app is
told, and the inbox rows that were dealt with (invariant 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from models.outcomes import FallbackReason, ProviderName
    from models.projections import (
        AppliedEvent,
        AttemptProjection,
        AuditProjection,
        FallbackProjection,
        OutboundProjection,
        PaymentProjection,
    )
    from models.snapshots import Capture

ENGINE_ACTOR = "engine"
CAPTURE = "capture"
# The kind of a payment that an operator booked.
OUT_OF_BAND = "out_of_band"


class StepChanges:
    """The rows to be written; `_clear` makes room for the next step."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._attempts: list[AttemptProjection] = []
        self._payments: list[PaymentProjection] = []
        self._fallbacks: list[FallbackProjection] = []
        self._audit: list[AuditProjection] = []
        self._outbound: list[OutboundProjection] = []
        self._applied: list[AppliedEvent] = []
        self._touched = False

    def _told_of(self) -> dict[str, str]:
        """What every event for the app says of whom it is about."""
        raise NotImplementedError

    def touch(self) -> None:
        """There is something to write."""
        self._touched = True

    def audit(self, actor: str, action: str, before: dict[str, Any], after: dict[str, Any]) -> None:
        self._audit.append(
            AuditProjection(
                id=workflow.uuid7(), actor=actor, action=action, before=before, after=after
            )
        )
        self.touch()

    def emit(self, type_: str, **data: Any) -> None:
        """Tell the app."""
        self._outbound.append(
            OutboundProjection(id=workflow.uuid7(), type=type_, data={**self._told_of(), **data})
        )
        self.touch()

    def fallback(
        self,
        attempted: ProviderName,
        instead: ProviderName,
        reason: FallbackReason,
        invoice_id: UUID | None,
    ) -> None:
        """`invoice_id`: None as long as no attempt was made, for then it has no row to refer to."""
        self._fallbacks.append(
            FallbackProjection(
                id=workflow.uuid7(),
                invoice_id=invoice_id,
                attempted_provider=attempted,
                fallback_provider=instead,
                reason=str(reason),
                timestamp=workflow.now(),
            )
        )
        self.emit(
            "payment.fallback",
            attempted_provider=str(attempted),
            fallback_provider=str(instead),
            reason=str(reason),
        )

    def acknowledge(self, event_ids: Sequence[UUID], disposition: str) -> None:
        """Inbox rows that this step has dealt with."""
        self._applied += [AppliedEvent(id=id_, disposition=disposition) for id_ in event_ids]
        if event_ids:
            self.touch()

    def _payment(
        self,
        invoice_id: UUID,
        attempt_id: UUID | None,
        provider: ProviderName | None,
        capture: Capture,
        applied_minor: int,
        kind: str = CAPTURE,
    ) -> UUID:
        """A movement of money for the ledger. The id of its row."""
        id_ = workflow.uuid7()
        self._payments.append(
            PaymentProjection(
                id=id_,
                invoice_id=invoice_id,
                attempt_id=attempt_id,
                provider=provider,
                provider_charge_id=capture.provider_charge_id,
                kind=kind,
                amount_minor=capture.amount_minor,
                applied_minor=applied_minor,
                currency=capture.currency,
                occurred_at=capture.captured_at,
            )
        )
        self.touch()
        return id_
