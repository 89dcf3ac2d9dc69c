"""Stored instruments at a provider."""

from __future__ import annotations

from abc import ABC, abstractmethod

from pydantic import BaseModel
from temporalio import activity

from models.commands import (
    AddPaymentMethodInput,
    DetachPaymentMethodInput,
    DetachPaymentMethodResult,
    PaymentMethodResult,
)


class ClosePaymentMethod(BaseModel, frozen=True):
    """Write down that a payment method could not be added."""

    request: AddPaymentMethodInput
    failure_code: str


class PaymentMethodCalls(ABC):
    """Remote activities about stored instruments, on the same queues."""

    @activity.defn(name="add_payment_method")
    @abstractmethod
    async def add_payment_method(self, request: AddPaymentMethodInput) -> PaymentMethodResult: ...

    @activity.defn(name="close_payment_method")
    @abstractmethod
    async def close_payment_method(self, closing: ClosePaymentMethod) -> None: ...

    @activity.defn(name="release_payment_method")
    @abstractmethod
    async def release_payment_method(
        self, request: DetachPaymentMethodInput
    ) -> DetachPaymentMethodResult: ...

    @activity.defn(name="forget_payment_method")
    @abstractmethod
    async def forget_payment_method(self, request: DetachPaymentMethodInput) -> None: ...
