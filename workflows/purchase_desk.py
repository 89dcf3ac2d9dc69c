"""The desk at which a purchase's workflow works: its state, and what this step has changed."""

from __future__ import annotations

import asyncio
from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.signatures.attempts import AttemptResult
    from activities.signatures.records import Records
    from models.outcomes import OutcomeClass, ProviderName
    from models.projections import AttemptProjection, InvoiceProjection
    from models.purchase import (
        BenefitsDue,
        PurchaseBatch,
        PurchaseProjection,
        PurchaseStatus,
        PurchaseTerms,
    )
    from models.settlement import Settlement
    from models.states import InvoiceStatus
    from workflows.options import call_write
    from workflows.step_changes import ENGINE_ACTOR, StepChanges


class PurchaseDesk(StepChanges):
    """Nothing here waits but `commit`."""

    def __init__(self, terms: PurchaseTerms) -> None:
        self.terms = terms
        self.status = PurchaseStatus.PENDING
        self.provider: ProviderName | None = None
        self.paid_at: datetime | None = None
        self.version = 0
        self.invoice_id = workflow.uuid7()
        self.opened_at = workflow.now()
        # A version is written before the next one is made up: the guard of the rows drops older ones.
        self._lock = asyncio.Lock()
        super().__init__()

    def _clear(self) -> None:
        super()._clear()
        self._invoices: list[InvoiceProjection] = []
        self._benefits: BenefitsDue | None = None

    def _told_of(self) -> dict[str, str]:
        return {
            "purchase_id": str(self.terms.purchase_id),
            "organization_id": str(self.terms.organization_id),
            "status": str(self.status),
        }

    def invoice_row(
        self,
        status: InvoiceStatus,
        *,
        amount_paid_minor: int = 0,
        paid_at: datetime | None = None,
    ) -> InvoiceProjection:
        return InvoiceProjection(
            id=self.invoice_id,
            provider=self.provider,
            amount_minor=self.terms.amount_minor,
            currency=self.terms.currency,
            amount_paid_minor=amount_paid_minor,
            status=str(status),
            invoice_date=self.opened_at,
            due_date=self.opened_at,
            paid_at=paid_at,
        )

    def invoice(self, row: InvoiceProjection) -> None:
        self._invoices.append(row)

    def benefits(self, due: BenefitsDue) -> None:
        self._benefits = due

    def move(self, status: PurchaseStatus) -> None:
        self.audit(ENGINE_ACTOR, "status", {"status": str(self.status)}, {"status": str(status)})
        self.status = status

    def close_attempt(self, result: AttemptResult) -> None:
        now = workflow.now()
        self._attempts.append(
            AttemptProjection(
                id=result.attempt_id,
                invoice_id=self.invoice_id,
                provider=result.provider,
                instrument=self.terms.instrument,
                amount_minor=self.terms.amount_minor,
                currency=self.terms.currency,
                outcome=result.outcome,
                reason=result.reason,
                provider_object_id=result.provider_object_id,
                started_at=now,
                finished_at=None if result.outcome is OutcomeClass.PENDING else now,
            )
        )

    def payments(self, result: AttemptResult, settlement: Settlement) -> None:
        """Write every movement of money into the ledger; what pays nothing is told as unapplied."""
        for capture, applied_minor in settlement.applied:
            self._payment(
                self.invoice_id, result.attempt_id, result.provider, capture, applied_minor
            )
        if settlement.unapplied_minor:
            told = {
                "invoice_id": str(self.invoice_id),
                "unapplied_minor": settlement.unapplied_minor,
            }
            self.audit(f"provider:{result.provider}", "payment.unapplied", {}, told)
            self.emit(
                "payment.unapplied",
                invoice_id=str(self.invoice_id),
                amount_minor=settlement.unapplied_minor,
                currency=self.terms.currency,
            )

    async def commit(self) -> None:
        """Write row, ledgers, audit, events and acknowledgements as the next version."""
        async with self._lock:
            self.version += 1
            batch = PurchaseBatch(
                application_id=self.terms.application_id,
                organization_id=self.terms.organization_id,
                purchase=PurchaseProjection(
                    id=self.terms.purchase_id,
                    version=self.version,
                    status=self.status,
                    provider=self.provider,
                    paid_at=self.paid_at,
                ),
                benefits=self._benefits,
                invoices=self._invoices,
                attempts=self._attempts,
                payments=self._payments,
                fallbacks=self._fallbacks,
                audit=self._audit,
                outbound=self._outbound,
                applied_events=self._applied,
                recorded_at=workflow.now(),
            )
            self._clear()
            await call_write(
                Records.record_purchase, batch, f"{self.status}, version {self.version}"
            )
