"""Which method a configuration of a linear map's adapter means."""

from adapters_runtime.configs import LoRAConfig
from adapters_runtime.errors import ConfigError
from adapters_runtime.methods.base import LinearMethod
from adapters_runtime.methods.ia3 import IA3
from adapters_runtime.methods.lora import LoRA


def linear_method(config: LoRAConfig) -> type[LinearMethod]:
    if config.use_dora or config.init_weights == "vera":
        raise ConfigError("DoRA and VeRA are not available yet; use LoRAConfig without them")
    if config.composition_mode == "scale":
        return IA3
    return LoRA
