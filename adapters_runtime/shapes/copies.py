"""What AdapterHub's files hold twice, and what our files hold once.

pool   prefix tuning's one pool is registered in every attention as well, so that its tensors come
       again under `<attention>.prefix_tuning.pool.prefix_tunings.<name>.`
norm   with `ln_before`, the first element of the sequence `adapter_down` is registered again as
       `adapter_norm_before`
pair   a model made of two has the invertible adapters of its encoder at its decoder and at itself
       too, and what all layers share at its decoder

A reader drops the copies; a writer never writes them. AdapterHub's library reads such files.
"""

import re
from collections.abc import Collection, Iterator

from adapters_runtime.architectures import Architecture

_POOL = re.compile(r"(?P<attention>.+)\.prefix_tuning\.pool\.(?P<rest>.+)")
_NORM = re.compile(r"(?P<module>.+)\.adapter_norm_before\.(?P<parameter>weight|bias)")
_PAIR = re.compile(r"(decoder\.\w+\.)?(?P<own>(invertible_adapters|shared_parameters)\..+)")


def originals(keys: Collection[str]) -> dict[str, str]:
    """Return {key that is a copy: the key whose tensor it repeats}."""
    present = set(keys)
    found = {key: next(filter(present.__contains__, _sources(key)), None) for key in keys}
    return {copy: original for copy, original in found.items() if original is not None}


def without_copies(keys: Collection[str]) -> list[str]:
    """Return the keys in their order, without those whose tensor another key has too."""
    copies = originals(keys)
    return [key for key in keys if key not in copies]


def _sources(key: str) -> Iterator[str]:
    """Yield the keys that this one may be a copy of."""
    if match := _POOL.fullmatch(key):
        # The pool belongs to a model around the attention; the nearest that has one is it.
        steps = match["attention"].split(".")
        for count in reversed(range(len(steps))):
            yield ".".join([*steps[:count], "prefix_tuning", match["rest"]])
    elif match := _NORM.fullmatch(key):
        yield f"{match['module']}.adapter_down.0.{match['parameter']}"
    elif match := _PAIR.fullmatch(key):
        yield f"encoder.{match['own']}"


def strip_base_prefix(keys: Collection[str], architecture: Architecture) -> dict[str, str]:
    """Return {key: key relative to the base model}.

    Files of models without a head have no prefix, since such a model is its own base.
    """
    prefix = f"{architecture.base_prefix}."
    return {key: key.removeprefix(prefix) for key in keys}
