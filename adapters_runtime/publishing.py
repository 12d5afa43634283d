"""Methods that put adapters on a hub, and functions that find those which are there.

They speak to the hub that `huggingface_hub` knows: HF_ENDPOINT, and its token. `hubctl push` does
more: it registers the base, and gives the adapter a version.
"""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError

from adapters_runtime.io.card import CARD, write_card

_TAG = "adapters"
_OLD_TAG = "adapter-transformers"


class PublishingMethods:
    """Parameters have the names and the order of AdapterHub's library."""

    def push_adapter_to_hub(
        self,
        repo_id: str,
        adapter_name: str,
        datasets_tag: str | None = None,
        local_path: str | Path | None = None,
        commit_message: str | None = None,
        private: bool | None = None,
        token: bool | str | None = None,
        overwrite_adapter_card: bool = False,
        create_pr: bool = False,
        revision: str | None = None,
        commit_description: str | None = None,
        adapter_card_kwargs: Mapping[str, Any] | None = None,
    ) -> str:
        """Upload an adapter's folder with a card, and return the URL of the commit.

        The repository is made if there is none. `local_path` is a folder for the files, which may
        hold a card already. That one stays, or else the repository's, unless
        `overwrite_adapter_card`. `adapter_card_kwargs`: tags, language, license, metrics, and the
        texts architecture_training, results and citation.
        """

        def write(folder: Path) -> None:
            self.save_adapter(folder, adapter_name)  # type: ignore[attr-defined]

        return _push(
            self,
            write,
            _Card(adapter_name, "load_adapter", datasets_tag, overwrite_adapter_card),
            adapter_card_kwargs or {},
            local_path,
            _Commit(
                repo_id, private, token, create_pr, revision, commit_message, commit_description
            ),
        )

    def push_adapter_setup_to_hub(
        self,
        repo_id: str,
        adapter_setup: Any,
        head_setup: Any = None,
        datasets_tag: str | None = None,
        local_path: str | Path | None = None,
        commit_message: str | None = None,
        private: bool | None = None,
        token: bool | str | None = None,
        overwrite_adapter_card: bool = False,
        create_pr: bool = False,
        revision: str | None = None,
        commit_description: str | None = None,
        adapter_card_kwargs: Mapping[str, Any] | None = None,
    ) -> str:
        """Upload a set-up with all its adapters and fusions; see `push_adapter_to_hub`."""

        def write(folder: Path) -> None:
            self.save_adapter_setup(folder, adapter_setup, head_setup)  # type: ignore[attr-defined]

        return _push(
            self,
            write,
            _Card(str(adapter_setup), "load_adapter_setup", datasets_tag, overwrite_adapter_card),
            adapter_card_kwargs or {},
            local_path,
            _Commit(
                repo_id, private, token, create_pr, revision, commit_message, commit_description
            ),
        )


@dataclass(frozen=True)
class _Card:
    subject: str
    loaded_by: str
    dataset: str | None
    overwrite: bool


@dataclass(frozen=True)
class _Commit:
    repo_id: str
    private: bool | None
    token: bool | str | None
    create_pr: bool
    revision: str | None
    message: str | None
    description: str | None


def _push(
    model: Any,
    write: Callable[[Path], None],
    card: _Card,
    facts: Mapping[str, Any],
    local_path: str | Path | None,
    commit: _Commit,
) -> str:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(local_path or temporary)
        write(folder)
        api = HfApi(token=commit.token)
        api.create_repo(commit.repo_id, private=commit.private, exist_ok=True)
        if card.overwrite or not _has_card(api, folder, commit):
            write_card(
                folder,
                model,
                card.subject,
                repository=commit.repo_id,
                loaded_by=card.loaded_by,
                datasets=() if card.dataset is None else (card.dataset,),
                **facts,
            )
        return _upload(api, folder, commit, f"Upload {card.subject}")


def _has_card(api: HfApi, folder: Path, commit: _Commit) -> bool:
    """Return whether somebody has written a card already, here or on the hub."""
    if (folder / CARD).exists():
        return True
    return api.file_exists(commit.repo_id, CARD, revision=commit.revision)


def _upload(api: HfApi, folder: Path, commit: _Commit, default_message: str) -> str:
    uploaded = api.upload_folder(
        repo_id=commit.repo_id,
        folder_path=folder,
        commit_message=commit.message or default_message,
        commit_description=commit.description,
        revision=commit.revision,
        create_pr=commit.create_pr,
        # What registers a base is for `hubctl`; see `adapters_runtime.io.files`.
        ignore_patterns=["hub_base.json", "*/hub_base.json", ".cache/*"],
    )
    return str(uploaded.commit_url)


@dataclass(frozen=True)
class PublishedAdapter:
    """An adapter on a hub, as a list shows it."""

    source: str
    """`hf`: the hub of `huggingface_hub`, wherever HF_ENDPOINT is."""
    adapter_id: str
    model_name: str | None = None
    username: str | None = None
    sha1_checksum: str | None = None
    """The commit."""


def list_adapters(model_name: str | None = None) -> list[PublishedAdapter]:
    """Return the adapters on the hub; with `model_name`, those for that base."""
    api = HfApi()
    found = {
        info.id: _published(info)
        for tag in (_TAG, _OLD_TAG)
        for info in api.list_models(filter=tag, full=True, fetch_config=True)
    }
    return [one for one in found.values() if model_name in (None, one.model_name)]


def get_adapter_info(adapter_id: str) -> PublishedAdapter | None:
    """Return what is known of one adapter on the hub, None when it has no such repository."""
    try:
        return _published(HfApi().model_info(adapter_id))
    except RepositoryNotFoundError:
        return None


def _published(info: Any) -> PublishedAdapter:
    return PublishedAdapter(
        source="hf",
        adapter_id=info.id,
        model_name=_base_of(info),
        username=info.id.partition("/")[0],
        sha1_checksum=info.sha,
    )


def _base_of(info: Any) -> str | None:
    """Return the base that the card names, or the configuration of AdapterHub's repositories."""
    named = (info.card_data or {}).get("base_model")
    if named:
        return str(named[0] if isinstance(named, list) else named)
    for field in (_TAG, "adapter_transformers"):
        if name := ((info.config or {}).get(field) or {}).get("model_name"):
            return str(name)
    return None
