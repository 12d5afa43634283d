"""A proxy before a server, which loses the connection when a certain request passes."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit


class Proxy:
    """Forwards everything, until bytes that hold `stop_at` come from the client.

    From then on nothing passes any more. With `cut`, connections are closed as well; without, the
    client waits, and can be killed there.
    """

    def __init__(self, url: str, stop_at: bytes, *, cut: bool) -> None:
        parts = urlsplit(url)
        self._server = (parts.hostname, parts.port)
        self._stop_at = stop_at
        self._cut = cut
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.reached = threading.Event()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed: the test is over
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                self._open += [client, server]
                for source, target in ((client, server), (server, client)):
                    threading.Thread(
                        target=self._forward, args=(source, target, client), daemon=True
                    ).start()

    def _forward(self, source: socket.socket, target: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if source is client and self._stop_at in data:
                    self.reached.set()
                if self.reached.is_set():
                    if self._cut:
                        source.shutdown(socket.SHUT_RDWR)
                        target.shutdown(socket.SHUT_RDWR)
                    return
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def proxy(url: str, stop_at: bytes, *, cut: bool = True) -> Iterator[Proxy]:
    opened = Proxy(url, stop_at, cut=cut)
    try:
        yield opened
    finally:
        opened.close()
