"""The specification of a model: the one that is written down, or a derived one that is closed."""

import warnings
from typing import TYPE_CHECKING, Any

from adapters_runtime.architectures import (
    ARCHITECTURES,
    PAIR,
    Architecture,
    LayerStack,
    architecture_of_config,
)
from adapters_runtime.derive.certificate import Certificate
from adapters_runtime.derive.deriving import Derivation, derive
from adapters_runtime.derive.shrinking import shrink
from adapters_runtime.errors import UnsupportedArchitecture, UnsupportedPair
from adapters_runtime.inject.bank import base_of

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

_derived: dict[tuple[type, str], Derivation] = {}


def architecture_of(model: "PreTrainedModel") -> Architecture:
    """Return the specification of a model's type.

    One that is derived comes with a warning that says what it is. Raises UnsupportedArchitecture
    where there is none and the certificate of a derived one is not closed, and UnsupportedPair.
    """
    if model.config.model_type == PAIR:
        _refuse_ties(model)
    if model.config.model_type in (PAIR, *ARCHITECTURES):
        return architecture_of_config(model.config.to_dict())
    base: Any = base_of(model)
    found = derived_architecture(type(base), base.config)
    warnings.warn(_message(found), stacklevel=4)  # whoever calls `init`
    return found


def _refuse_ties(pair: Any) -> None:
    """Raise UnsupportedPair if its halves have a parameter in common: a merge would change both."""
    encoder = {id(parameter): name for name, parameter in pair.encoder.named_parameters()}
    for name, parameter in pair.decoder.named_parameters():
        if id(parameter) in encoder:
            raise UnsupportedPair(
                pair.decoder.config.model_type,
                "decoder",
                f"its {name} is the encoder's {encoder[id(parameter)]}; give each its own",
            )


def derived_architecture(base_class: type[Any], config: "PreTrainedConfig") -> Architecture:
    """Return a derived specification that is closed; raises UnsupportedArchitecture.

    Models that differ in nothing but their size share one.
    """
    found = _derive_once(base_class, config)
    if found.architecture is None or not found.certificate.closed:
        raise UnsupportedArchitecture(
            config.model_type, sorted(ARCHITECTURES), found.certificate.gaps
        )
    return found.architecture


def _derive_once(base_class: type[Any], config: "PreTrainedConfig") -> Derivation:
    try:
        key = (base_class, shrink(config).to_json_string(use_diff=False))
        if key not in _derived:
            _derived[key] = derive(base_class, config)
    except Exception as error:  # noqa: BLE001  (a model of any kind may fail in any way)
        gap = f"a small copy of the model does not run: {type(error).__name__}: {error}"
        return Derivation(None, Certificate((), (gap,)))
    return _derived[key]


def _message(architecture: Architecture) -> str:
    stacks = "; ".join(map(_summary, architecture.stacks))
    return (
        f"there is no specification for model type {architecture.model_type!r}. One was derived "
        f"from a small copy of the model, whose layers it explains to 1e-9: {stacks}. Review it, "
        "and commit it so that it stays: docs/adding_an_architecture.md says how"
    )


def _summary(stack: LayerStack) -> str:
    sites = ", ".join(f"{site.key} at {site.out}" for site in stack.sites)
    attentions = ", ".join(attention.path for attention in stack.attentions)
    into = " and ".join(stack.ffn_in)
    maps = f"{into} to {stack.ffn_out}" if into else "no map of the feed-forward block by itself"
    return f"{stack.path} with {sites}, attention in {attentions}, {maps}"
