"""The pages in Airflow's UI: an application that the API server mounts at PREFIX, and its views.

A page is HTML, a style and plain scripts, which ask the REST API and nothing else. As with that
API, the application is built when it is first asked for something.
"""

from __future__ import annotations

from typing import Any

PREFIX = "/hpo/ui"
_PLACE = PREFIX.removeprefix("/")


class Pages:
    """An ASGI application that builds the one which answers."""

    def __init__(self) -> None:
        """Build nothing yet."""
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if self._app is None:
            from hpo_airflow.pages.app import application

            self._app = application()
        await self._app(scope, receive, send)


#: What the plugin tells Airflow of the application, and of what its UI shows in frames. A place is
#: relative: Airflow itself may be below a path.
MOUNTED = {"app": Pages(), "url_prefix": PREFIX, "name": "hpo pages"}
_RUN = "dag_id={DAG_ID}&dag_run_id={RUN_ID}"
VIEWS = [
    {
        "name": "Hyperparameter tuning",
        "href": f"{_PLACE}/experiments",
        "destination": "nav",
        "nav_top_level": True,
        "url_route": "hpo",
    },
    {
        "name": "Tuning",
        "href": f"{_PLACE}/run?{_RUN}",
        "destination": "dag_run",
        "url_route": "hpo-run",
    },
    {
        "name": "Trial",
        "href": f"{_PLACE}/trial?{_RUN}&task_id={{TASK_ID}}&map_index={{MAP_INDEX}}",
        "destination": "task_instance",
        "url_route": "hpo-trial",
    },
]
