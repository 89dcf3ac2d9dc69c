"""ipapi.co and ip-api.com as far as anybody asks them for a country, on their own wire formats.

Faults are switched on for the providers `geo-ipapi` and `geo-ip-api`, operation `lookup`.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from sandbox.core import Call, Core
from sandbox.geo.table import Address, Place, parse, place_of

# ip-api.com names fields by number too; nobody here does.
_IP_API_FIELDS = (
    "status", "message", "country", "countryCode", "city", "currency", "query"
)  # fmt: skip
# The latest are kept: the state must not grow for ever.
ASKED_MAX = 1000
_IP_API_DEFAULT_FIELDS = frozenset({"status", "message", "country", "countryCode", "city", "query"})


class GeoSimulators:
    """Two services that know the same table. They keep no state but what was asked."""

    def __init__(self, core: Core) -> None:
        self.core = core

    def ipapi_routes(self) -> list[Route]:
        return [
            Route("/{ip}/json/", self._serving("geo-ipapi", self._ipapi_json), methods=["GET"]),
            Route(
                "/{ip}/country/", self._serving("geo-ipapi", self._ipapi_country), methods=["GET"]
            ),
        ]

    def ip_api_routes(self) -> list[Route]:
        return [Route("/json/{ip}", self._serving("geo-ip-api", self._ip_api), methods=["GET"])]

    def asked(self, provider: str) -> list[str]:
        """The addresses that a service was asked for, in order: what a cache should have spared."""
        asked: list[str] = self.core.collection(provider, "lookups").setdefault("asked", [])
        return asked

    def _serving(self, provider: str, handler: Any) -> Any:
        error = _ipapi_error if provider == "geo-ipapi" else _ip_api_error

        async def endpoint(request: Request) -> Response:
            asked = self.asked(provider)
            asked.append(request.path_params["ip"])
            del asked[:-ASKED_MAX]
            return await self.core.serve(provider, "lookup", request, handler, error)

        return endpoint

    async def _ipapi_json(self, request: Request, call: Call) -> Response:
        return JSONResponse(_ipapi_answer(request.path_params["ip"]))

    async def _ipapi_country(self, request: Request, call: Call) -> Response:
        answer = _ipapi_answer(request.path_params["ip"])
        return PlainTextResponse(answer.get("country_code") or "Undefined")

    async def _ip_api(self, request: Request, call: Call) -> Response:
        answer = _ip_api_answer(request.path_params["ip"])
        asked_for = request.query_params.get("fields")
        fields = set(asked_for.split(",")) if asked_for else _IP_API_DEFAULT_FIELDS
        shown = {name: answer[name] for name in _IP_API_FIELDS if name in answer and name in fields}
        return JSONResponse(shown, headers={"X-Rl": "44", "X-Ttl": "60"})


def _ipapi_answer(ip: str) -> dict[str, Any]:
    address = parse(ip)
    if address is None:
        return {"ip": ip, "error": True, "reason": "Invalid IP Address"}
    version = f"IPv{address.version}"
    if not address.is_global:
        return {
            "ip": ip, "error": True, "reason": "Reserved IP Address", "reserved": True,
            "version": version,
        }  # fmt: skip
    place = place_of(address)
    return {"ip": ip, "version": version, **_ipapi_place(place)}


def _ipapi_place(place: Place | None) -> dict[str, Any]:
    return {
        "city": place.city if place else None,
        "country": place.country if place else None,
        "country_name": place.name if place else None,
        "country_code": place.country if place else None,
        "country_code_iso3": place.iso3 if place else None,
        "in_eu": place is not None and place.currency == "EUR",
        "currency": place.currency if place else None,
    }


def _ip_api_answer(ip: str) -> dict[str, Any]:
    address = parse(ip)
    if address is None:
        return {"status": "fail", "message": "invalid query", "query": ip}
    place = place_of(address)
    if place is None:
        return {"status": "fail", "message": _ip_api_refusal(address), "query": ip}
    return {
        "status": "success",
        "country": place.name,
        "countryCode": place.country,
        "city": place.city,
        "currency": place.currency,
        "query": ip,
    }


def _ip_api_refusal(address: Address) -> str:
    private = address.is_private and not address.is_loopback
    return "private range" if private else "reserved range"


def _ipapi_error(status: int, message: str) -> dict[str, Any]:
    if status == 429:
        seen = "Visit https://ipapi.co/ratelimited/ for details"
        return {"error": True, "reason": "RateLimited", "message": seen}
    return {"error": True, "reason": message}


def _ip_api_error(status: int, message: str) -> dict[str, Any]:
    return {"status": "fail", "message": message}
