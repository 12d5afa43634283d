"""The hash by which AdapterHub's index told configurations apart."""

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

# Fields that came after the first hashes: at these values they do not count.
_SINCE: Mapping[str, Any] = {
    "phm_layer": True,
    "phm_dim": 4,
    "factorized_phm_W": True,
    "shared_W_phm": False,
    "shared_phm_rule": True,
    "factorized_phm_rule": False,
    "phm_c_init": "normal",
    "phm_init_range": 0.0001,
    "learn_phm": True,
    "hypercomplex_nonlinearity": "glorot-uniform",
    "phm_rank": 1,
    "phm_bias": True,
    "init_weights": "bert",
    "scaling": 1.0,
}


def get_adapter_config_hash(
    config: Mapping[str, Any], length: int = 16, ignore_params: Collection[str] = ()
) -> str:
    """Return the first digits of the SHA-1 of a configuration, as AdapterHub's files hold it.

    Fields in `ignore_params`, and those without a value, do not count.
    """
    plain = config.to_dict() if hasattr(config, "to_dict") else config
    counted = {
        name: _with_values(value)
        for name, value in plain.items()
        if value and name not in ignore_params and _SINCE.get(name) != value
    }
    text = json.dumps(counted, sort_keys=True)
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:length]


def _with_values(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _with_values(item) for name, item in value.items() if item}
    return value
