"""Where a request comes from: a page of another site is not to use the cookie of Airflow's."""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import HTTPException, Request

_OWN = ("same-origin", "none")


def from_here(request: Request) -> None:
    """Refuse what another site's page has sent, by what its browser says of it.

    Whoever sends a token, or is no browser, says nothing of that kind, or means it.
    """
    if request.headers.get("authorization", "").lower().startswith("bearer "):
        return
    if not is_from_here(request):
        raise HTTPException(403, "refused: the request comes from a page of another site")


def is_from_here(request: Request) -> bool:
    """Say whether a request comes from a page of this origin, or from no page."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in _OWN
    origin = request.headers.get("origin")
    if origin is None:
        return True
    hosts = {request.headers.get(name) for name in ("host", "x-forwarded-host")}
    return urlsplit(origin).netloc in hosts - {None, ""}
