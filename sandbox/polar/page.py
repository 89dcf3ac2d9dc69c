"""The hosted page for a person who tries the engine on a laptop: what is sold, and a button."""

from __future__ import annotations

from html import escape

from starlette.responses import HTMLResponse, RedirectResponse, Response

from sandbox.polar.wire import Json

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>
<style>body{{font:18px/1.5 system-ui;max-width:28rem;margin:12vh auto;padding:0 1rem}}
button{{font:inherit;padding:.6rem 1.4rem}}small{{color:#666}}</style>
<h1>{title}</h1>{body}<p><small>Polar, simulated: no money moves.</small></p></html>"""


def show(checkout: Json, product: Json) -> Response:
    amount, currency = checkout["total_amount"], checkout["currency"].upper()
    asked = f"<p>{amount} {currency} in the smallest unit, tax included</p>"
    if checkout["status"] == "open":
        body = f'{asked}<form method="post"><button>Pay</button></form>'
    else:
        body = f"{asked}<p>This page is {escape(checkout['status'])}.</p>"
    return HTMLResponse(_PAGE.format(title=escape(product["name"]), body=body))


def leave(checkout: Json) -> Response:
    """Back to the shop, as the customer's browser goes after paying."""
    url = checkout["success_url"].replace("{CHECKOUT_ID}", checkout["id"])
    return RedirectResponse(url, 303)


def unknown() -> Response:
    body = "<p>There is no such page.</p>"
    return HTMLResponse(_PAGE.format(title="Not found", body=body), 404)
