"""The REST API: an application that Airflow's API server mounts at PREFIX.

Every process of Airflow loads the plugin, and only the API server answers: so the application is
built, with all that it imports, when it is first asked for something.
"""

from __future__ import annotations

from typing import Any

PREFIX = "/hpo/api/v1"
#: Where a request's scope has Airflow's own application.
AIRFLOW = "hpo.airflow"


class Api:
    """An ASGI application that builds the one which answers."""

    def __init__(self) -> None:
        """Build nothing yet."""
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, and remember which application has mounted this one."""
        if self._app is None:
            from hpo_airflow.api.app import application

            self._app = application()
        await self._app({**scope, AIRFLOW: scope.get("app")}, receive, send)


#: What the plugin tells Airflow.
MOUNTED = {"app": Api(), "url_prefix": PREFIX, "name": "hpo"}
