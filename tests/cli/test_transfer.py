"""What huggingface_hub raises is said in our words, with a code and a hint."""

import httpx2
import pytest

from cli import transfer
from registry.client import HubUnreachable


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_broken_connection_is_no_server(wrapped):
    broken = httpx2.ReadError("reset by peer")

    def upload():
        with transfer._translated("http://hub:1"):
            if not wrapped:
                raise broken
            raise RuntimeError("Error while uploading 'x' to the Hub.") from broken

    with pytest.raises(HubUnreachable, match="reset by peer"):
        upload()


def test_a_bug_stays_a_bug():
    def upload():
        with transfer._translated("http://hub:1"):
            raise RuntimeError("ours")

    with pytest.raises(RuntimeError, match="ours"):
        upload()


def test_a_read_of_a_folder_that_lacks_a_file_is_not_intact(tmp_path):
    listed = transfer.files_of({"a.json": {"sha256": "0" * 64, "size": 1}})
    assert not transfer.intact(tmp_path, listed)
    (tmp_path / "a.json").write_text("x")
    assert not transfer.intact(tmp_path, listed)
