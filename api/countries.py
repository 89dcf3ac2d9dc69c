"""One order for everybody: the billing address, then the organization's country, then the IP address."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from uuid import UUID

from sqlalchemy import select
from starlette.requests import HTTPConnection

from api.auth import Principal
from api.context import ApiContext
from api.schemas import BillingAddress
from api.tenancy import scoped
from models.routing import CountrySource, Located
from models.storage.tables import Organization


def settle_country(
    organization: Organization | None, address: BillingAddress | None, hint: Located | None
) -> Located | None:
    """`address` came with the request and is newer than the organization's own. What the customer
    said comes before `hint`, which is a guess from where they seem to be."""
    if address is not None:
        return Located(country=address.country, source=CountrySource.BILLING_ADDRESS)
    said = _said(organization) if organization is not None else None
    return said or hint


def _said(organization: Organization) -> Located | None:
    billing = (organization.billing_address or {}).get("country")
    if billing:
        return Located(country=billing, source=CountrySource.BILLING_ADDRESS)
    if organization.country:
        return Located(country=organization.country, source=CountrySource.ORGANIZATION)
    return None


async def hint_of(
    context: ApiContext,
    connection: HTTPConnection,
    principal: Principal,
    *,
    organization_id: UUID | None,
    address: BillingAddress | None,
    ip_address: IPv4Address | IPv6Address | None = None,
) -> Located | None:
    """A guess for `settle_country`, made only when nothing better is known.

    Call it outside of any transaction: asking a web service takes up to 1.5 s, and no row and no
    connection may be held for that.
    """
    storefront = context.storefront
    ip = str(ip_address) if ip_address is not None else storefront.customer_address(connection)
    if ip is None or address is not None:
        return None
    if organization_id is not None:
        statement = select(Organization).where(Organization.id == organization_id)
        async with context.sessions() as session:
            organization = await session.scalar(scoped(statement, principal))
        if organization is None or _said(organization) is not None:
            return None
    return await storefront.geolocator.country_of(ip)
