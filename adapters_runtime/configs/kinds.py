"""The kinds of places that adapters take up, in the words of AdapterHub's interfaces."""

from typing import ClassVar

from adapters_runtime.configs.base import AdapterConfig
from adapters_runtime.configs.bottleneck import BnConfig
from adapters_runtime.configs.lora import LoRAConfig
from adapters_runtime.configs.signature import parts_of


class AdapterMethod:
    """Names of the kinds, for `AdapterModelInterface.adapter_methods` and `supports_adapter`."""

    bottleneck = "bottleneck"
    prefix_tuning = "prefix_tuning"
    lora = "lora"
    prompt_tuning = "prompt_tuning"
    reft = "reft"
    invertible = "invertible"

    ALL: ClassVar = (bottleneck, prefix_tuning, lora, prompt_tuning, reft, invertible)

    @staticmethod
    def get_from_config(config: AdapterConfig) -> list[str]:
        """Return the kinds that a configuration needs, each once.

        LoRA's kin count as LoRA. A method that is not among `ALL` is called by its architecture.
        """
        return list(dict.fromkeys(kind for part in parts_of(config) for kind in _kinds(part)))


def _kinds(part: AdapterConfig) -> tuple[str, ...]:
    if isinstance(part, BnConfig):
        inverts = (AdapterMethod.invertible,) if part.inv_adapter else ()
        return (*inverts, AdapterMethod.bottleneck)
    if isinstance(part, LoRAConfig):
        return (AdapterMethod.lora,)
    return (str(part.architecture),)
