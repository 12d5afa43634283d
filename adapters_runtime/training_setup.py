"""What a training script says on its command line about adapters."""

from dataclasses import dataclass, field
from typing import Any

from adapters_runtime.composition import Stack
from adapters_runtime.configs import AdapterConfig


@dataclass
class AdapterArguments:
    """Fields for transformers' HfArgumentParser."""

    train_adapter: bool = field(
        default=False, metadata={"help": "Train an adapter instead of the whole model."}
    )
    load_adapter: str | None = field(
        default="", metadata={"help": "Folder, or repository, of an adapter to go on from."}
    )
    adapter_config: str | None = field(
        default="seq_bn", metadata={"help": "Configuration of a new adapter: a name, or a path."}
    )
    load_lang_adapter: str | None = field(
        default=None, metadata={"help": "Folder, or repository, of a language adapter below."}
    )
    lang_adapter_config: str | None = field(
        default=None, metadata={"help": "Has no effect: a language adapter has its own."}
    )


def setup_adapter_training(
    model: Any,
    adapter_args: AdapterArguments,
    adapter_name: str,
    adapter_config_kwargs: dict[str, Any] | None = None,
    adapter_load_kwargs: dict[str, Any] | None = None,
) -> tuple[str | None, str | None]:
    """Add or load what the arguments ask for, and train it; return its name and the language's.

    The language adapter stands below, frozen. `adapter_config_kwargs` override fields of a new
    adapter's configuration; what is loaded has its own. `adapter_load_kwargs` go to `load_adapter`.
    Without `train_adapter` nothing is done; raises ValueError if something is to be loaded then.
    """
    if not adapter_args.train_adapter:
        if adapter_args.load_adapter or adapter_args.load_lang_adapter:
            raise ValueError("adapters are loaded only to train one: give --train_adapter too")
        return None, None
    options = adapter_load_kwargs or {}
    if adapter_args.load_adapter:
        model.load_adapter(adapter_args.load_adapter, load_as=adapter_name, **options)
    elif adapter_name not in model.adapters_config:
        fields = adapter_config_kwargs or {}
        config = AdapterConfig.load(adapter_args.adapter_config, **fields)
        model.add_adapter(adapter_name, config=config)
    language = None
    if adapter_args.load_lang_adapter:
        language = model.load_adapter(adapter_args.load_lang_adapter, **options)
    model.train_adapter(adapter_name)
    model.set_active_adapters(adapter_name if language is None else Stack(language, adapter_name))
    return adapter_name, language
