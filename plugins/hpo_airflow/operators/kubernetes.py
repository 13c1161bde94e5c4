"""A trial as a pod, run and watched by Airflow's own operator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.utils.container import container_is_running
from airflow.providers.cncf.kubernetes.utils.pod_manager import PodManager, PodPhase
from airflow.sdk.exceptions import AirflowException

from hpo_airflow.operators.trial import TrialOperator
from hpo_lib.backends.beginning import Vanished, prepare
from hpo_lib.backends.pod_logs import PodLogs
from hpo_lib.backends.pod_status import refused
from hpo_lib.backends.pods import CONTAINER
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.errors import TransientError

if TYPE_CHECKING:
    from kubernetes.client import V1Pod

    from hpo_lib.backends import Request
    from hpo_lib.backends.kubernetes import KubernetesBackend
    from hpo_lib.records import Attempt

_CHECK_S, _AGAIN_S = 2, 5.0
_NOT_FOUND = 404


class KubernetesTrialOperator(TrialOperator, KubernetesPodOperator):
    """Runs one trial in a pod, or takes over the pod that an earlier, killed task has left.

    Airflow's operator creates, follows and waits; what the pod is, how it ended, and when it may be
    deleted (once its outcome is in the store) is decided here.
    """

    ui_color = "#e6eefb"
    _backend: KubernetesBackend

    def __init__(self, **kwargs: Any) -> None:
        """Say what holds for every trial."""
        super().__init__(
            base_container_name=CONTAINER,
            container_name_log_prefix_enabled=False,
            kubernetes_conn_id=None,
            log_pod_spec_on_failure=False,
            random_name_suffix=False,
            startup_check_interval_seconds=_CHECK_S,
            **kwargs,
        )

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Run as any trial; push the result here, as do_xcom_push would add a second container."""
        found = super().execute(context)
        self._ti.xcom_push(key="return_value", value=found)
        return found

    @cached_property
    def pod_manager(self) -> _Watcher:
        """What Airflow's operator watches the pod with."""
        handle = self._attempt.handle if self._attempt else {"folder": ""}
        return _Watcher(self.client, self.callbacks, PodLogs.of(handle))

    def find_pod(
        self, namespace: str, context: Mapping[str, Any], *, exclude_checked: bool = True
    ) -> V1Pod | None:
        """Look the pod up by its name, which is the attempt's, rather than by Airflow's labels."""
        from kubernetes.client.exceptions import ApiException

        try:
            return self.client.read_namespaced_pod(
                self.pod_template_dict["metadata"]["name"], namespace
            )
        except ApiException as error:
            if error.status == _NOT_FOUND:
                return None
            raise

    def get_or_create_pod(self, pod_request_obj: V1Pod, context: Mapping[str, Any]) -> V1Pod:
        """Take the pod over, also one that has ended meanwhile: its outcome is not lost.

        One that is gone is not created again: Vanished.
        """
        found = self.find_pod(pod_request_obj.metadata.namespace, context)
        if found is not None:
            return found
        return self._backend.begin(
            self._handle, lambda: self.pod_manager.create_pod(pod_request_obj)
        )

    def await_pod_start(self, pod: V1Pod) -> None:
        """Wait until the pod has begun; from then on its timeout counts."""
        super().await_pod_start(pod)
        if self._attempt is not None and self.pod_manager.seen is not None:
            self._backend.begun(self._attempt.handle, self.pod_manager.seen)

    def cleanup(self, pod: V1Pod, remote_pod: V1Pod, **_: Any) -> None:
        """Do nothing: how the pod ended, and when it is deleted, is decided by `tasks.perform`."""

    def _launch(self, attempt: Attempt, request: Request) -> Exit:
        self._look_after(attempt)
        self._handle = attempt.handle
        prepare(attempt.handle, request)
        self.kubernetes_conn_id = self._backend.rules.connection
        self.schedule_timeout_seconds = self.startup_timeout_seconds = request.start_timeout_s
        self.pod_template_dict = self._backend.wanted(attempt.handle, request)
        end = self._unmade() or self._backend.poll(attempt.handle)
        if end is None:
            raise TransientError("the pod goes on, watching it did not", after_s=_AGAIN_S)
        return end

    def _unmade(self) -> Exit | None:
        """Have Airflow's operator see the pod through; give the end of one that cannot be made."""
        from kubernetes.client.exceptions import ApiException

        try:
            self.execute_sync(self._context)
        except Vanished as error:
            return error.end
        except (TypeError, ValueError) as error:
            if self.pod is not None:
                raise
            # Airflow's or Kubernetes' own reader of pods has found an error in this one.
            return Exit(Ending.UNSTARTABLE, detail=str(error))
        except ApiException as error:
            end = refused(error.status, error.body)
            if end is None and self.pod is None:
                said = f"kubernetes: {error.status} {error.reason}: {error.body}"
                raise TransientError(said, after_s=_AGAIN_S) from error
            self.log.info("%s", error)
            return end
        except AirflowException as error:
            self.log.info("%s", error)
        return None


class _Watcher(PodManager):
    """Keeps what it last saw of the pod, to spare the API server, and all that the pod prints."""

    seen: V1Pod | None = None

    def __init__(self, client: Any, callbacks: Any, logs: PodLogs) -> None:
        """Take the place where logs are kept."""
        super().__init__(kube_client=client, callbacks=callbacks)
        self._logs = logs

    def read_pod_logs(self, pod: V1Pod, container_name: str, **_: Any) -> Iterator[bytes]:
        """Keep what the container prints, and give what is new of it: nothing is lost or repeated.

        Airflow's own way begins anew when it is cut off, and where the node's newest file begins.
        """
        known = self._client.api_client.sanitize_for_serialization(self.seen or pod)
        for line in self._logs.printed(self._client, known, container_name):
            yield line.encode()
        if (end := self._logs.end) is not None:
            raise AirflowException(end.detail)

    def read_pod(self, pod: V1Pod) -> V1Pod:
        """Read the pod, and keep it."""
        self.seen = super().read_pod(pod)
        return self.seen

    def container_is_running(self, pod: V1Pod, container_name: str) -> bool:
        """Say whether there is more to follow.

        A pod that has ended is believed, even if its container is said to run: some versions of
        Kubernetes (1.20) never correct that when a pod is ended by its deadline.
        """
        found = self.read_pod(pod)
        if found.status.phase in PodPhase.terminal_states:
            return False
        return bool(container_is_running(found, container_name))
