"""Money that goes back, came late, or becomes credit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from uuid import UUID

from pydantic import AwareDatetime, BaseModel
from temporalio import activity

from models.commands import CreditUnapplied, InboxEvent, RefundInput, RefundResult
from models.outcomes import ProviderName


class MoneyNews(BaseModel, frozen=True):
    """What a provider tells of money that no workflow waits for: it went back, or it came after the end."""

    provider: ProviderName
    events: list[InboxEvent]
    at: AwareDatetime


class MoneyFollowed(BaseModel, frozen=True):
    """Refunds that a plan's rule asks for: written down, and still to be carried out."""

    refunds: list[RefundInput] = []


class CreditOrder(BaseModel, frozen=True):
    """Turn unapplied money into credit of this subscription, in the transaction that locks it."""

    subscription_id: UUID
    command: CreditUnapplied
    at: AwareDatetime


class MoneyCalls(ABC):
    """Remote activities about money that goes back or came late, on the same queues."""

    @activity.defn(name="send_refund")
    @abstractmethod
    async def send_refund(self, order: RefundInput) -> RefundResult: ...

    @activity.defn(name="follow_money")
    @abstractmethod
    async def follow_money(self, news: MoneyNews) -> MoneyFollowed: ...


class CreditRecords(ABC):
    """Local activities about credit."""

    @activity.defn(name="credit_unapplied")
    @abstractmethod
    async def credit_unapplied(self, command: CreditOrder) -> int: ...
