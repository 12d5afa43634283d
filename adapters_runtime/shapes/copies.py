"""What AdapterHub's files hold twice, and what our files hold once.

pool   prefix tuning's one pool is registered in every attention as well, so that its tensors come
       again under `<attention>.prefix_tuning.pool.prefix_tunings.<name>.`
norm   with `ln_before`, the norm is registered as `adapter_norm_before` and again as the first
       element of the sequence, `adapter_down.0`

A reader drops the copies; a writer never writes them. AdapterHub's library reads such files.
"""

import re
from collections.abc import Collection

from adapters_runtime.architectures import Architecture

_POOL = re.compile(r"\.prefix_tuning\.pool\.")
_NORM = re.compile(r"(?P<module>.+)\.adapter_down\.0\.(?P<parameter>weight|bias)")


def without_copies(keys: Collection[str]) -> list[str]:
    """Return the keys in their order, without those whose tensor another key has too."""
    present = set(keys)
    return [key for key in keys if not _is_copy(key, present)]


def _is_copy(key: str, present: set[str]) -> bool:
    if _POOL.search(key):
        return True
    match = _NORM.fullmatch(key)
    return match is not None and (
        f"{match['module']}.adapter_norm_before.{match['parameter']}" in present
    )


def strip_base_prefix(keys: Collection[str], architecture: Architecture) -> dict[str, str]:
    """Return {key: key relative to the base model}.

    Files of models without a head have no prefix, since such a model is its own base.
    """
    prefix = f"{architecture.base_prefix}."
    return {key: key.removeprefix(prefix) for key in keys}
