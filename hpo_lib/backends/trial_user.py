"""Local trials as a user of their own, who reads neither the worker's files nor its processes.

The worker becomes that user by `sudo -n -u`, which its sudoers file has to allow, or, where it is
root, by `setpriv`. Environment and command go to a shell by its standard input: nobody sees them in
a list of processes. The attempt's folder stays the worker's. Of what is in it the user can write to
`output`, which is the user's group's, as the worker is in it, and print to the pipe `printed`.
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpo_lib.errors import TransientError

_SHARED_FOLDER, _SHARED_FILE = 0o2770, 0o660
_ENTER = 0o011
_ANSWER_S = 30.0
#: Kills what has a variable with this value; `grep` alone finds it without Python.
_KILL = """\
for file in $(grep -lszxF "$1" /proc/[0-9]*/environ); do
  pid=${file%/environ}
  kill -KILL "${pid#/proc/}"
done
"""


@dataclass(frozen=True, slots=True)
class TrialUser:
    """A user of this machine, by name; TransientError where there is none, or it is the worker."""

    name: str

    @property
    def entry(self) -> pwd.struct_passwd:
        """Give what the machine knows of the user."""
        try:
            found = pwd.getpwnam(self.name)
        except KeyError:
            raise TransientError(f"local.user: this worker has no user {self.name}") from None
        if found.pw_uid in (0, os.geteuid()):
            raise TransientError(
                f"local.user: must be neither root nor who the worker runs as, got {self.name}"
            )
        return found

    @property
    def become(self) -> list[str]:
        """Give the words that, before a command, run it as this user."""
        if os.geteuid() != 0:
            return [_program("sudo"), "-n", "-u", self.name, "--"]
        group = str(self.entry.pw_gid)
        drop = ["--init-groups", "--inh-caps=-all", "--no-new-privs", "--pdeathsig", "KILL"]
        return [_program("setpriv"), "--reuid", self.name, "--regid", group, *drop, "--"]

    def shell(self) -> list[str]:
        """Give the command of a shell of this user with no variables, which reads `script`."""
        return [*self.become, "/usr/bin/env", "-i", "/bin/sh", "-s"]

    def lend(self, folder: Path) -> None:
        """Let the user read a folder of the worker's, and make files in it."""
        for one in (folder, *folder.rglob("*")):
            self._hand_over(one)
            one.chmod(_SHARED_FOLDER if one.is_dir() else _SHARED_FILE)

    def words(self, command: Sequence[str], env: Mapping[str, str]) -> list[str]:
        """Give a command that runs as this user, with variables that everybody may see."""
        told = [f"{name}={value}" for name, value in env.items()]
        shared = ["/bin/sh", "-c", 'umask 007; exec "$@"', "sh"]
        return [*self.become, "/usr/bin/env", "-i", *told, *shared, *command]

    def script(self, command: Sequence[str], env: Mapping[str, str], cwd: str) -> str:
        """Write what becomes the command, with these variables and those of the user's home."""
        mine = {"HOME": self.entry.pw_dir, "LOGNAME": self.name, "USER": self.name}
        told = {name: value for name, value in env.items() if name != "TMPDIR"} | mine
        lines = [f"export {name}={shlex.quote(value)}" for name, value in told.items()]
        lines += ["umask 007", f"cd {shlex.quote(cwd)} || exit 126", "unset PWD OLDPWD"]
        return "\n".join([*lines, f"exec {shlex.join(command)} < /dev/null", ""])

    def open(self, home: Path, folder: Path) -> None:
        """Let the user enter an attempt's output below `home`, write there, and print.

        TransientError says what the operator has to set up.
        """
        output, printed = folder / "output", folder / "printed"
        self._hand_over(output)
        self._hand_over(printed)
        output.chmod(_SHARED_FOLDER)
        printed.chmod(_SHARED_FILE)
        for one in (folder, *folder.parents):
            one.chmod(one.stat().st_mode | _ENTER)
            if one == home:
                break
        self._try(output)

    def _hand_over(self, path: Path) -> None:
        """Give a file or folder of the worker's to the user's group."""
        group = self.entry.pw_gid
        try:
            os.chown(path, -1, group, follow_symlinks=False)
        except PermissionError:
            raise TransientError(
                f"local.user: the worker has to be in the group of {self.name}, number {group}"
            ) from None

    def _try(self, output: Path) -> None:
        done = self._run(["test", "-w", str(output)])
        if done.returncode:
            why = done.stderr.strip() or "a folder above it does not let it through"
            raise TransientError(f"local.user: {self.name} cannot write to {output}: {why}")

    def kill(self, variable: str) -> None:
        """Kill the user's processes that have `NAME=value` in their environment."""
        self._run(["/bin/sh", "-c", _KILL, "sh", variable])

    def share(self, folder: Path) -> None:
        """Let the worker read and remove what the user has left in a folder, whatever its modes."""
        self._run(["chmod", "-R", "g+rwX", str(folder)])

    def _run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(  # noqa: S603 - words of ours, without a shell
                [*self.become, *command],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_ANSWER_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise TransientError(f"local.user: cannot become {self.name}: {error}") from None


def _program(name: str) -> str:
    return shutil.which(name) or name
