"""Events as the API lists them: what webhooks told, for 30 days."""

from __future__ import annotations

from sandbox.core import Call
from sandbox.stripe.forms import Params, only, optional_text, strings
from sandbox.stripe.world import Object, World

KEPT_SECONDS = 30 * 86_400


class Events:
    def __init__(self, world: World) -> None:
        self.world = world

    def list_events(self, params: Params, call: Call) -> Object:
        only(params, "type", "types", "created", "limit", "starting_after")
        wanted = {optional_text(params, "type"), *strings(params, "types")} - {None}
        kept_since = self.world.now() - KEPT_SECONDS
        told = [
            record["body"]
            for record in self.world.core.webhooks.events
            if record["provider"] == "stripe" and record["body"]["created"] >= kept_since
        ]
        chosen = [body for body in told if not wanted or body["type"] in wanted]
        return self.world.page("/v1/events", chosen, params)
