"""In which country an internet address is: a hint for routing, never a fact about the customer."""

from providers.geolocation.geolocator import Geolocator
from providers.geolocation.services import IpApi, IpapiCo, WebService

__all__ = ["Geolocator", "IpApi", "IpapiCo", "WebService"]
