"""Registrations of base models: read from a folder, or made from a model; no weights leave here."""

from pathlib import Path

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


def of_model(source: str, *, name: str | None) -> BaseModelIn:
    """Load a model with transformers and describe it. Takes as long as reading its weights."""
    try:
        from transformers import AutoModel  # noqa: PLC0415  (seconds, and only this needs it)

        import adapters_runtime  # noqa: PLC0415
        from adapters_runtime.io.hub_files import hub_base  # noqa: PLC0415
    except ImportError as error:
        raise Failure(
            f"reading a model needs {error.name}", hint="pip install 'hubctl[runtime]'"
        ) from error
    try:
        model = AutoModel.from_pretrained(source)
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise Failure(f"{source} cannot be loaded as a model: {first}") from error
    adapters_runtime.init(model)
    identity = adapters_runtime.base_identity(model, name=name)
    return BaseModelIn.model_validate(hub_base(model, identity))
