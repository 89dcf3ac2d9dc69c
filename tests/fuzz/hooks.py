"""What schemathesis has to know about this API beside its description; loaded by its command line.

Formats that JSON Schema does not know, ids of objects that are there, and two checks of our own. Nothing here
makes a check weaker: `valid_input_is_accepted` stands in for the tool's own check of that, which knows
no difference between a body that is wrong and a plan that has no price in a currency.
"""

from __future__ import annotations

import json
import os
from itertools import count
from typing import Any

import pycountry
import schemathesis
from hypothesis import strategies as st
from schemathesis import AuthContext, Case, CheckContext, HookContext, Response

from models.money import CURRENCIES

KEY_VARIABLE = "ABONO_FUZZ_KEY"
IDS_VARIABLE = "ABONO_FUZZ_IDS"
_IDS: dict[str, str] = json.loads(os.environ[IDS_VARIABLE])
_PROBLEM = "application/problem+json"
_wishes = count(1)

schemathesis.openapi.format(
    "iso-3166-alpha-2", st.sampled_from(sorted(one.alpha_2 for one in pycountry.countries))
)
schemathesis.openapi.format("iso-4217", st.sampled_from(sorted(CURRENCIES)))
schemathesis.openapi.format(
    "iana-time-zone", st.sampled_from(["UTC", "America/Mexico_City", "Asia/Tokyo"])
)
schemathesis.openapi.format("ipvanyaddress", st.ip_addresses().map(str))
schemathesis.openapi.format(
    "email", st.from_regex(r"[a-z]{1,20}@[a-z]{1,20}\.example", fullmatch=True)
)
schemathesis.openapi.format(
    "http-url", st.from_regex(r"https://[a-z]{1,20}\.example/[a-z]{0,20}", fullmatch=True)
)


@schemathesis.auth()
class ApiKey:
    def get(self, case: Case[Any], context: AuthContext) -> str:
        return os.environ[KEY_VARIABLE]

    def set(self, case: Case[Any], data: str, context: AuthContext) -> None:
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    """Half of the ids are of objects that are there, and no key is used for two wishes by chance."""
    headers: Any = case.headers or {}
    if 0 < len(headers.get("Idempotency-Key", "")) < 200:
        headers["Idempotency-Key"] = f"{headers['Idempotency-Key']}-{next(_wishes)}"
    if case.meta is None or case.meta.phase.name.value == "stateful":
        return
    if case.meta.generation.mode.is_positive and next(_wishes) % 2:
        for holder in (case.path_parameters, case.query, case.body):
            if isinstance(holder, dict):
                holder.update({name: _IDS[name] for name in holder.keys() & _IDS.keys()})


@schemathesis.check
def problems_are_described(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """An error's code is one that the operation lists under this status."""
    if response.status_code < 400 or response.status_code == 405:
        return
    answers = case.operation.definition.raw["responses"]
    content = answers.get(str(response.status_code), {}).get("content", {})
    if _PROBLEM not in content:
        return  # The tool's own checks say so.
    code = response.json()["code"]
    assert code in content[_PROBLEM]["examples"], f"{response.status_code} {code} is not described"


@schemathesis.check
def valid_input_is_accepted(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """What the schema allows is refused for a reason of the business, not for its form."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if response.status_code == 422 and response.json()["code"] == "invalid_request":
        errors = response.json().get("errors") or [{"code": "no errors"}]
        # To JSON Schema 199.0 is an integer. Here it is not: whoever writes so reckons money in floats.
        # What fields may not be together is said by the description in words alone. And where it lets
        # an application write what it likes, JSON Schema cannot say how many digits a number may have.
        beyond_schemas = {"int_type", "combination", "number_too_long"}
        assert {error["code"] for error in errors} <= beyond_schemas, (
            f"valid input is called invalid: {response.json()}"
        )
