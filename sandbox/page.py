"""A provider's hosted page for a person who tries the engine on a laptop: what is sold, and a button."""

from __future__ import annotations

from html import escape

from starlette.responses import HTMLResponse, RedirectResponse, Response

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>
<style>body{{font:18px/1.5 system-ui;max-width:28rem;margin:12vh auto;padding:0 1rem}}
button{{font:inherit;padding:.6rem 1.4rem}}small{{color:#666}}</style>
<h1>{title}</h1>{body}<p><small>{provider}, simulated: no money moves.</small></p></html>"""


def show(provider: str, title: str, amount: int, currency: str, status: str) -> Response:
    asked = f"<p>{amount} {currency.upper()} in the smallest unit</p>"
    if status == "open":
        body = f'{asked}<form method="post"><button>Pay</button></form>'
    else:
        body = f"{asked}<p>This page is {escape(status)}.</p>"
    return HTMLResponse(_PAGE.format(title=escape(title), body=body, provider=provider))


def leave(success_url: str) -> Response:
    """Back to the shop, as the customer's browser goes after paying."""
    return RedirectResponse(success_url, 303)


def unknown(provider: str) -> Response:
    body = "<p>There is no such page.</p>"
    return HTMLResponse(_PAGE.format(title="Not found", body=body, provider=provider), 404)
