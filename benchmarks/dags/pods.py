"""The plain DAG that pods are compared with: Airflow's own operator, mapped, in waves."""

from __future__ import annotations

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG

IMAGE, WAVES, WIDTH = "debian:bookworm-slim", 4, 4

with DAG("bare_pods", schedule=None, catchup=False):
    before = None
    for wave in range(1, WAVES + 1):
        pods = KubernetesPodOperator.partial(
            task_id=f"trial_{wave:02d}",
            name="bare",
            namespace="default",
            image=IMAGE,
            kubernetes_conn_id=None,
            cmds=["sh", "-c", "sleep 2; echo loss=0.5"],
            log_pod_spec_on_failure=False,
        ).expand(env_vars=[{"TRIAL": str(number)} for number in range(WIDTH)])
        if before is not None:
            before >> pods
        before = pods
