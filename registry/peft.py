"""Reading a checkpoint of PEFT, as far as the registry can check it against a base."""

from collections.abc import Mapping
from typing import Any

from adapters_runtime.shapes import BaseDescription
from registry.adapterhub import CONFIG, Contents
from registry.errors import InvalidPackage
from registry.packages import Check, Package
from registry.peft_file import PeftFile
from registry.peft_linear import LinearParts
from registry.peft_prompts import SoftPrompt
from registry.schemas import Signature
from registry.structure import read_weights

WEIGHTS = "adapter_model.safetensors"
_BOOKKEEPING = frozenset(
    {"auto_mapping", "base_model_name_or_path", "inference_mode", "peft_version", "revision"}
)
"""Fields that say where a checkpoint comes from, and nothing of what it computes."""
_LINEAR = ("LORA", "IA3")
_PROMPTS = ("PREFIX_TUNING", "PROMPT_TUNING")


def read(
    package: Package, document: Mapping[str, Any], base: BaseDescription | None, check: Check
) -> Contents:
    """Read the folder and compare its tensors with the base's.

    Raises InvalidPackage for methods of which nothing here could tell whether they fit.
    """
    kind = document["peft_type"]
    if kind not in _LINEAR + _PROMPTS:
        known = ", ".join(_LINEAR + _PROMPTS)
        reason = f"of PEFT's methods {known} can be checked and get a version"
        remedy = "the revision stays, and can be pulled by its id"
        raise InvalidPackage([f"{CONFIG}: peft_type is {kind!r}; {reason}; {remedy}"])
    method = f"peft:{kind.lower()}"
    found = _read_weights(package, document, base, check)
    if found is not None and base is not None:
        for problem in found.problems():
            check.problem(WEIGHTS, problem)
    return Contents(
        layout="peft",
        method=method,
        configuration={key: value for key, value in document.items() if key not in _BOOKKEEPING},
        model_type=base.model_type if base else None,
        signature=found.signature() if found else Signature(method=method),
        head=None,
        weights=(WEIGHTS,) if WEIGHTS in package else (),
        local_names=(),
        copies={},
    )


def _read_weights(
    package: Package, document: Mapping[str, Any], base: BaseDescription | None, check: Check
) -> LinearParts | SoftPrompt | None:
    if WEIGHTS not in package:
        check.problem(WEIGHTS, "is missing; save with safe_serialization=True")
        return None
    weights = read_weights(package, WEIGHTS, check)
    if weights is None:
        return None
    if document["peft_type"] in _LINEAR:
        return LinearParts(PeftFile(document, weights, base))
    return SoftPrompt(PeftFile(document, weights, base, root="base_model."))
