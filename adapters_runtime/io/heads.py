"""A prediction head's files: a flexible head, or the head a model was built with.

A projection to the vocabulary that is tied to the base's token embedding is not written: it is the
base's. A file that has it all the same, as those of AdapterHub's library do, is read: where it
differs from the base's, it was trained, and the head brings it as a token embedding of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from adapters_runtime.errors import ConfigError, FormatError
from adapters_runtime.inject.bank import base_of
from adapters_runtime.io import files
from adapters_runtime.io.filling import check_tensors, copy_tensors

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass
class ReadHead:
    """A head that was read and found to fit; `install` cannot fail any more."""

    install: Callable[[], None]


def save(model: "PreTrainedModel", folder: Path, name: str, document: dict[str, Any]) -> None:
    """Write the head that goes with an adapter, if the model has one."""
    heads = getattr(model, "heads", None)
    if isinstance(heads, dict):
        if name in heads:
            tensors = _untied(model, heads[name])
            _write(folder, {**document, "config": heads[name].config}, tensors, f"heads.{name}.")
        return
    if own := static_head(model):
        config = model.config
        labels = {"num_labels": config.num_labels, "label2id": config.label2id}
        _write(folder, {**document, "name": None, "config": None, **labels}, own, "")


def _write(
    folder: Path, document: dict[str, Any], tensors: Mapping[str, Tensor], prefix: str
) -> None:
    files.write_json(folder / files.HEAD_CONFIG, document)
    files.write_tensors(
        folder / files.HEAD_WEIGHTS[0], {prefix + key: tensor for key, tensor in tensors.items()}
    )


def read(
    model: "PreTrainedModel",
    source: Path,
    saved_name: str,
    name: str,
    id2label: Mapping[int, str] | None = None,
) -> ReadHead | None:
    """Read the head in a folder and check that it fits; None when there is none for this model.

    A model with flexible heads converts the head of a model that was built with one. `id2label`
    replaces the names of the classes. Raises TensorMismatch when the tensors are not those that the
    configuration needs.
    """
    if not (source / files.HEAD_CONFIG).is_file():
        return None
    path = files.find_weights(source, files.HEAD_WEIGHTS)
    if path is None:
        raise FormatError(f"{source} has a {files.HEAD_CONFIG} but no weights of the head")
    document = _relabelled(files.read_json(source / files.HEAD_CONFIG), id2label)
    if isinstance(getattr(model, "heads", None), dict):
        saved_name = document.get("name") or saved_name
        return _read_flexible(model, document, path, saved_name, name)
    return _read_static(model, document, path)


def _read_flexible(
    model: Any, document: dict[str, Any], path: Path, saved_name: str, name: str
) -> ReadHead | None:
    config = document.get("config")
    if config is None:
        return _convert(model, document, path, name)
    head = model.new_head(name, config)
    tensors = _of_head(path, saved_name)
    _untie(model, head, tensors)
    own = _untied(model, head)
    tied = {key for key, _ in head.named_parameters()} - own.keys()
    untied = {key: tensor for key, tensor in tensors.items() if key not in tied}
    check_tensors(untied, own, str(path))

    def install() -> None:
        copy_tensors(untied, own)
        model.add_prediction_head(head, overwrite_ok=True)

    return ReadHead(install)


def _of_head(path: Path, name: str) -> dict[str, Tensor]:
    """Return a head's tensors by their names in it.

    AdapterHub's library writes those of all heads whose names begin like this one's.
    """
    own, alike = f"heads.{name}.", f"heads.{name}"
    return {
        key.removeprefix(own): tensor
        for key, tensor in files.read_tensors(path).items()
        if key.startswith(own) or not key.startswith(alike)
    }


def _convert(model: Any, document: dict[str, Any], path: Path, name: str) -> ReadHead | None:
    head = model.converted_head(
        name,
        str(document.get("model_class")),
        files.read_tensors(path),
        labels=document.get("label2id"),
        num_labels=document.get("num_labels"),
    )
    if head is None:
        return None
    return ReadHead(lambda: model.add_prediction_head(head, overwrite_ok=True))


def _relabelled(document: dict[str, Any], id2label: Mapping[int, str] | None) -> dict[str, Any]:
    """Return a head's document with other names of the classes; raises ConfigError."""
    if not id2label:
        return document
    labels = {label: int(index) for index, label in id2label.items()}
    config = document.get("config")
    count = (config or document).get("num_labels")
    if count is not None and sorted(labels.values()) != list(range(count)):
        raise ConfigError(f"id2label must name the classes 0 to {count - 1}: {dict(id2label)}")
    named = {"label2id": labels}
    return {**document, **named} if config is None else {**document, "config": {**config, **named}}


def named_labels(config: Mapping[str, Any]) -> dict[int, str]:
    """Return {index: label} by what a head's configuration or document says; raises ConfigError."""
    labels, named = config.get("label2id") or {}, config.get("id2label")
    try:
        named = named or {index: label for label, index in labels.items()}
        return {int(index): label for index, label in named.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"a head's labels are a map to their numbers, not {labels}") from error


def refill(model: Any, source: Path, saved_name: str, name: str) -> None:
    """Copy a saved state into the head that goes with an adapter, in place."""
    path = find_weights(source)
    head = getattr(model, "heads", {}).get(name)
    own = _untied(model, head) if head is not None else static_head(model)
    if path is None or not own:
        return
    tensors = _of_head(path, saved_name)
    saved = {key: tensor for key, tensor in tensors.items() if key in own}
    check_tensors(saved, own, str(path))
    copy_tensors(saved, own)


def find_weights(source: Path) -> Path | None:
    return files.find_weights(source, files.HEAD_WEIGHTS)


def _untie(model: nn.Module, head: Any, tensors: dict[str, Tensor]) -> None:
    """Give a head its own projection to the vocabulary if its file has another than the base's."""
    of_base = {id(parameter) for parameter in base_of(model).parameters()}
    for key, parameter in list(head.named_parameters()):
        saved = tensors.get(key)
        if id(parameter) in of_base and saved is not None and not equal_values(saved, parameter):
            head.get_output_embeddings().weight = nn.Parameter(parameter.detach().clone())
            head.brings_table = True


def equal_values(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a.to(b), b.detach())


def _read_static(model: "PreTrainedModel", document: dict[str, Any], path: Path) -> ReadHead | None:
    if document.get("model_class") != type(model).__name__:
        return None  # made for another task than this model's head
    own = static_head(model)
    tensors = {k: t for k, t in files.read_tensors(path).items() if k in own}
    check_tensors(tensors, own, str(path))
    labels = named_labels(document)

    def install() -> None:
        copy_tensors(tensors, own)
        if len(labels) == model.config.num_labels:
            model.config.id2label = labels
            model.config.label2id = {label: index for index, label in labels.items()}

    return ReadHead(install)


def static_head(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters of the head a model was built with, without those tied to the base."""
    return {} if base_of(model) is model else _untied(model, model)


def _untied(model: nn.Module, head: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters of a head that do not belong to the base as well."""
    of_base = {id(parameter) for parameter in base_of(model).parameters()}
    return {key: p for key, p in head.named_parameters() if id(p) not in of_base}
