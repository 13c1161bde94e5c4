"""The application of the pages: a page per view, and the files that it is made of."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

from fastapi import Depends, FastAPI, HTTPException, Response
from fastapi.responses import HTMLResponse

from hpo_airflow.api.rights import CallerDep, Right, require

#: Each is a script of its own name, which `page.js` starts.
VIEWS = ("experiments", "runs", "run", "trial", "compare", "champions")
_TYPES = {"js": "text/javascript", "css": "text/css"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
#: A file's address has the digest of all: it never changes.
_KEPT = {"Cache-Control": "private, max-age=31536000, immutable"}
#: From the drawings of the report.
_CHARTS = ("charts.js", "charts.css")


def application() -> FastAPI:
    """Build the application: all of it is for those who may see runs of some DAG."""
    app = FastAPI(
        openapi_url=None, docs_url=None, redoc_url=None, dependencies=[Depends(_may_look)]
    )

    @app.get("/{view}", response_class=HTMLResponse)
    def page(view: str) -> HTMLResponse:
        """Give the page of a view, which looks at its own address for what it is about."""
        if view not in VIEWS:
            raise HTTPException(404, f"there is no page {view[:80]!r}; known: {', '.join(VIEWS)}")
        return HTMLResponse(_page(view), headers=_HEADERS | {"Cache-Control": "no-cache"})

    @app.get("/assets/{digest}/{name}")
    def asset(digest: str, name: str) -> Response:
        """Give one of the files that pages are made of."""
        found = assets().get(name)
        if found is None or digest != _digest():
            raise HTTPException(404, "there is no such file: load the page again")
        media_type = _TYPES[name.rpartition(".")[2]]
        return Response(found, media_type=media_type, headers=_HEADERS | _KEPT)

    return app


def _may_look(who: CallerDep) -> None:
    require(who, Right.SEE_RUNS)


@cache
def assets() -> dict[str, bytes]:
    """Read all files, by name."""
    from hpo_lib.report import assets as drawings

    folder = files("hpo_airflow.pages").joinpath("static")
    own = {one.name: one.read_bytes() for one in folder.iterdir() if one.name != "page.html"}
    return own | dict(
        zip(_CHARTS, (drawings.script().encode(), drawings.style().encode()), strict=True)
    )


@cache
def _digest() -> str:
    whole = hashlib.sha256()
    for name, content in sorted(assets().items()):
        whole.update(name.encode() + b"\0" + content)
    return whole.hexdigest()[:16]


@cache
def _page(view: str) -> str:
    text = files("hpo_airflow.pages").joinpath("static", "page.html").read_text(encoding="utf-8")
    return text.replace("{view}", view).replace("{assets}", f"assets/{_digest()}")
