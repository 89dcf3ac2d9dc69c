"""What the workflow that stores a payment method is told about its row."""

from __future__ import annotations

from models.commands import AddPaymentMethodInput
from models.outcomes import Instrument, ProviderName
from models.storage.tables import PaymentMethod


def payment_method_input(row: PaymentMethod) -> AddPaymentMethodInput:
    return AddPaymentMethodInput(
        payment_method_id=row.id,
        application_id=row.application_id,
        organization_id=row.organization_id,
        provider=ProviderName(row.provider),
        type=Instrument(row.type),
        set_as_default=row.is_default,
    )
