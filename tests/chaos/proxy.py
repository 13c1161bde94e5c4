"""A network that can be cut: connections to a port of this machine, as long as it is whole."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


class Proxy:
    """Passes bytes on to the port that `target` names at that moment."""

    def __init__(self, target: Callable[[], int], host: str = "127.0.0.1") -> None:
        self.host = host
        self._target = target
        self._whole = True
        self._open: set[socket.socket] = set()
        self._server = socket.create_server((host, 0))
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._server.getsockname()[1])

    @contextmanager
    def cut(self) -> Iterator[None]:
        """End all connections, and every new one at once."""
        self._whole = False
        for end in list(self._open):
            _close(end)
        try:
            yield
        finally:
            self._whole = True

    def close(self) -> None:
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # or whoever waits for a connection waits on
        self._server.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._server.accept()
                threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        try:
            if not self._whole:
                return
            far = socket.create_connection(("127.0.0.1", self._target()))
            self._open |= {near, far}
            back = threading.Thread(target=_pass, args=(far, near), daemon=True)
            back.start()
            _pass(near, far)
            back.join()
            self._open -= {near, far}
            far.close()
        except OSError:
            return
        finally:
            near.close()


def _pass(near: socket.socket, far: socket.socket) -> None:
    with suppress(OSError):
        while chunk := near.recv(1 << 16):
            far.sendall(chunk)
    with suppress(OSError):
        far.shutdown(socket.SHUT_WR)


def _close(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
