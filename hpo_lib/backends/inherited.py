"""What an operator says of local trials, and the variables that they get of a worker, by name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import AfterValidator, Field

from hpo_lib.backends.trial_user import TrialUser
from hpo_lib.validation import Strict, rule, shown

#: Names, never patterns: TF_VAR_… and TF_TOKEN_… are Terraform's, NVIDIA_API_KEY is a secret.
NAMES = frozenset(
    {
        # where a program is, and as whom
        "HOME", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "TMPDIR", "USER",
        # how it writes, and what time it is
        "LANG", "LANGUAGE", "LC_ALL", "LC_COLLATE", "LC_CTYPE", "LC_MESSAGES", "LC_MONETARY",
        "LC_NUMERIC", "LC_TIME", "TZ",
        # whom it trusts
        "SSL_CERT_DIR", "SSL_CERT_FILE",
        # where its data are
        "HPO_DATA",
        # which GPUs it may use, and how
        "CUDA_CACHE_DISABLE", "CUDA_CACHE_MAXSIZE", "CUDA_CACHE_PATH",
        "CUDA_DEVICE_MAX_CONNECTIONS", "CUDA_DEVICE_ORDER", "CUDA_HOME", "CUDA_LAUNCH_BLOCKING",
        "CUDA_MODULE_LOADING", "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "CUDA_MPS_LOG_DIRECTORY",
        "CUDA_MPS_PIPE_DIRECTORY", "CUDA_PATH", "CUDA_VISIBLE_DEVICES", "NVIDIA_DISABLE_REQUIRE",
        "NVIDIA_DRIVER_CAPABILITIES", "NVIDIA_TF32_OVERRIDE", "NVIDIA_VISIBLE_DEVICES",
        # how libraries compute
        "MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_CPP_MIN_LOG_LEVEL",
        "TF_CPP_MIN_VLOG_LEVEL", "TF_CUDNN_DETERMINISTIC", "TF_CUDNN_USE_AUTOTUNE",
        "TF_DETERMINISTIC_OPS", "TF_ENABLE_ONEDNN_OPTS", "TF_FORCE_GPU_ALLOW_GROWTH",
        "TF_GPU_ALLOCATOR", "TF_GPU_THREAD_COUNT", "TF_GPU_THREAD_MODE", "TF_NUM_INTEROP_THREADS",
        "TF_NUM_INTRAOP_THREADS", "TF_USE_LEGACY_KERAS", "TF_XLA_FLAGS", "XLA_FLAGS",
        "XLA_PYTHON_CLIENT_ALLOCATOR", "XLA_PYTHON_CLIENT_MEM_FRACTION",
        "XLA_PYTHON_CLIENT_PREALLOCATE",
    }
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")


def _one(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise rule(f"must be the name of one variable, not a pattern, got {shown(name)}")
    if name.startswith(("AIRFLOW", "HPO_")):
        raise rule(
            "names with AIRFLOW or HPO_ in front are Airflow's settings and ours, which hold "
            f"passwords, got {name}"
        )
    return name


def _user(name: str) -> str:
    if not _USER.fullmatch(name) or name == "root":
        raise rule(f"must be the name of a user other than root, got {shown(name)}")
    return name


class LocalRules(Strict):
    """What `config/deployment.yaml` says of local trials.

    `environment` are further variables that they get, `user` is who they run as. With `fork` false
    none is forked of a template (see `local_template`), whatever its spec says.
    """

    environment: tuple[Annotated[str, AfterValidator(_one)], ...] = Field(default=(), strict=False)
    user: Annotated[str, AfterValidator(_user)] | None = None
    fork: bool = True

    @property
    def trial_user(self) -> TrialUser | None:
        """Give the user, who need not be there where a conf is only checked."""
        return None if self.user is None else TrialUser(self.user)


def environment(
    inherited: Mapping[str, str], path: str, further: Iterable[str] = ()
) -> dict[str, str]:
    """Choose what a trial sees of the worker's environment, with `path` before PATH."""
    names = NAMES.union(further)
    env = {name: value for name, value in inherited.items() if name in names}
    env["PATH"] = os.pathsep.join(filter(None, [path, env.get("PATH", os.defpath)]))
    return env | {"PYTHONUNBUFFERED": "1"}
