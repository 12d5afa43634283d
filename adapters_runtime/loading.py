"""Loading a whole model, with the adapters that were saved beside it."""

from pathlib import Path
from typing import Any, TypeVar

from transformers import PreTrainedModel

from adapters_runtime.architectures import Architecture
from adapters_runtime.interface import AdapterModelInterface
from adapters_runtime.io import whole
from adapters_runtime.model import init

Model = TypeVar("Model", bound=PreTrainedModel)


def load_model(
    model_name_or_path: str | Path,
    model_class: type[Model],
    interface: AdapterModelInterface | Architecture | None = None,
    *model_args: Any,
    **kwargs: Any,
) -> Model:
    """Load a model by `model_class.from_pretrained` and give it adapters.

    Those that `save_pretrained` has written beside it are loaded too, not activated. Without an
    `interface` that of the folder is used, if there is one. Raises what `init` and `load_adapter`
    raise.
    """
    model: Model = model_class.from_pretrained(model_name_or_path, *model_args, **kwargs)
    folder = Path(model_name_or_path, kwargs.get("subfolder") or "")
    saved = whole.read_interface(folder)
    if interface is None and saved is not None:
        interface = AdapterModelInterface.from_dict(saved)
    init(model, interface=interface)
    whole.load_adapters(model, folder)
    return model
