"""Airflow's own, unmodified operators, run one after the other by a deployer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hpo_lib.errors import TransientError


@dataclass(frozen=True)
class SageMakerOperators:
    """Creates and updates with a connection; the deployer waits, and reads why something failed."""

    connection: str | None
    region: str | None

    def model(self, config: dict[str, Any]) -> None:
        """Create a model."""
        from airflow.providers.amazon.aws.operators.sagemaker import SageMakerModelOperator

        self._run(SageMakerModelOperator, config)

    def endpoint_config(self, config: dict[str, Any]) -> None:
        """Create an endpoint configuration."""
        from airflow.providers.amazon.aws.operators.sagemaker import SageMakerEndpointConfigOperator

        self._run(SageMakerEndpointConfigOperator, config)

    def endpoint(self, config: dict[str, Any], operation: str) -> None:
        """Begin to create or to update an endpoint."""
        from airflow.providers.amazon.aws.operators.sagemaker import SageMakerEndpointOperator

        how = {"operation": operation, "wait_for_completion": False, "deferrable": False}
        self._run(SageMakerEndpointOperator, config, **how)

    def _run(self, operator: Any, config: dict[str, Any], **how: Any) -> None:
        """Execute an operator within the task that deploys; Airflow warns that it is nested."""
        from airflow.sdk.exceptions import AirflowException

        made = operator(
            task_id="deploy",
            config=config,
            aws_conn_id=self.connection,
            region_name=self.region,
            allow_nested_operators=True,
            **how,
        )
        try:
            made.execute({})
        except AirflowException as error:
            raise TransientError(f"sagemaker: {error}") from error
