"""Every method that has a name, at sizes that fit a tiny model."""

from adapters_runtime.configs import ADAPTER_CONFIG_MAP
from adapters_runtime.configs.presets import DEPRECATED_NAMES

_PREFIX = "[prefix_length=3,bottleneck_size=5]"
SIZES = {
    "seq_bn": "[reduction_factor=4]",
    "double_seq_bn": "[reduction_factor=4]",
    "seq_bn_inv": "[reduction_factor=4]",
    "double_seq_bn_inv": "[reduction_factor=4]",
    "adapter_plus": "[reduction_factor=4]",
    "compacter": "[reduction_factor=4,phm_dim=2]",
    "compacter++": "[reduction_factor=4,phm_dim=2]",
    "prefix_tuning": _PREFIX,
    "prefix_tuning_flat": "[prefix_length=3]",
    "prompt_tuning": "[prompt_length=3]",
    "mam": "[prefix_length=3]",
}
METHODS = {
    name: name + SIZES.get(name, "") for name in ADAPTER_CONFIG_MAP if name not in DEPRECATED_NAMES
}
