"""An S3 server in this process (moto), and fresh buckets on it."""

import contextlib
import itertools
from collections.abc import Callable, Iterator

import httpx2
from moto.server import ThreadedMotoServer
from obstore.store import S3Store

_numbers = itertools.count()


@contextlib.contextmanager
def s3_bucket() -> Iterator[Callable[[], S3Store]]:
    """Yield a function that makes a bucket and opens it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"

    def make() -> S3Store:
        name = f"hub-{next(_numbers)}"
        httpx2.put(f"{endpoint}/{name}").raise_for_status()
        return S3Store(
            name,
            endpoint=endpoint,
            region="us-east-1",
            access_key_id="test",
            secret_access_key="test",
            client_options={"allow_http": True},
            virtual_hosted_style_request=False,
        )

    try:
        yield make
    finally:
        server.stop()
