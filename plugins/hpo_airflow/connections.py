"""From Airflow's connections to clients, made when they are first needed."""

from __future__ import annotations

from typing import Any

from hpo_lib.errors import SpecError

_HTTP_S = 120.0


class AirflowConnections:
    """What leads from this installation to clusters, to Amazon, and to object stores."""

    def cluster(self, connection: str | None) -> Any:
        """Make a client of Kubernetes; None stands for the worker's own cluster."""
        from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook

        return KubernetesHook(conn_id=connection).core_v1_client

    def aws(self, connection: str | None, region: str | None, service: str) -> Any:
        """Make a client of one of Amazon's services; None stands for boto3's own ways."""
        from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook

        hook = AwsGenericHook(aws_conn_id=connection, region_name=region, client_type=service)
        return hook.conn

    def storage_options(self, connection: str) -> dict[str, Any]:
        """Read what fsspec needs: of AWS by Airflow's hook, of others from `extra`."""
        from airflow.sdk import BaseHook

        found = BaseHook.get_connection(connection)
        if found.conn_type != "aws":
            return dict(found.extra_dejson)
        return _s3_options(connection)


def _s3_options(connection: str) -> dict[str, Any]:
    from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook

    hook = AwsGenericHook(aws_conn_id=connection, client_type="s3")
    keys = hook.get_credentials()
    options = {
        "key": keys.access_key,
        "secret": keys.secret_key,
        "token": keys.token,
        "endpoint_url": hook.conn_config.get_service_endpoint_url(service_name="s3"),
        "client_kwargs": {"region_name": hook.region_name} if hook.region_name else None,
    }
    return {name: value for name, value in options.items() if value}


def mlflow(connection: str | None) -> Any:
    """Make a client of an MLflow server; the password of a connection without login is a token."""
    import httpx
    from airflow.sdk import BaseHook

    if connection is None:
        raise SpecError("mlflow: config/deployment.yaml names no connection to an MLflow server")
    found = BaseHook.get_connection(connection)
    auth = (found.login, found.password or "") if found.login else None
    token = {"Authorization": f"Bearer {found.password}"} if found.password and not auth else {}
    return httpx.Client(base_url=address(found), auth=auth, headers=token, timeout=_HTTP_S)


def address(connection: Any) -> str:
    """Give the address of a connection of type http."""
    import httpx

    host, scheme = str(connection.host or "").rstrip("/"), connection.schema or "http"
    base = httpx.URL(host if "://" in host else f"{scheme}://{host}")
    return str(base.copy_with(port=connection.port) if connection.port else base)
