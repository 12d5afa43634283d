"""Registrations of base models: read from a folder, or made from a model; no weights leave here."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cli import folders
from cli.failures import Failure
from registry.schemas import BaseModelIn


def read(path: Path) -> BaseModelIn:
    """Read a hub_base.json, which `save_adapter` writes beside an adapter."""
    document = folders.read_json(path)
    try:
        return BaseModelIn.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise Failure(
            f"{path}: {where}: {first['msg'].lower()}",
            hint="save the adapter again, and the file is written anew",
            code="invalid_base_model",
        ) from error


def of_folder(folder: Path) -> BaseModelIn | None:
    path = folder / folders.BASE
    return read(path) if path.is_file() else None


def _load(source: str) -> Any:
    """Load the model of a folder without a head; one made of two halves is whole only with it."""
    from transformers import (  # noqa: PLC0415  (seconds, and only this needs it)
        MODEL_MAPPING,
        AutoConfig,
        AutoModel,
        AutoModelForSeq2SeqLM,
    )

    known = type(AutoConfig.from_pretrained(source)) in MODEL_MAPPING
    return (AutoModel if known else AutoModelForSeq2SeqLM).from_pretrained(source)


def of_model(source: str, *, name: str | None) -> BaseModelIn:
    """Load a model with transformers and describe it. Takes as long as reading its weights."""
    try:
        import adapters_runtime  # noqa: PLC0415
        from adapters_runtime.io.hub_files import hub_base  # noqa: PLC0415
    except ImportError as error:
        raise Failure(
            f"reading a model needs {error.name}", hint="pip install 'hubctl[runtime]'"
        ) from error
    try:
        model = _load(source)
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise Failure(f"{source} cannot be loaded as a model: {first}") from error
    adapters_runtime.init(model)
    identity = adapters_runtime.base_identity(model, name=name)
    return BaseModelIn.model_validate(hub_base(model, identity))
