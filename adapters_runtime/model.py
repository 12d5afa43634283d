"""Adapters as methods of a model: thin, each delegates to the module that does the work.

`init(model)` gives a transformers model these methods. Its class becomes a subclass of its own
class, of the same name, so that `isinstance` and all that transformers does with it stay true.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from adapters_runtime import ejecting, merging, prompt_texts, summary
from adapters_runtime.architectures import Architecture
from adapters_runtime.combining import CombiningMethods
from adapters_runtime.composition import AdapterCompositionBlock, parse_composition
from adapters_runtime.configs import AdapterConfig, load_config
from adapters_runtime.context import Activation
from adapters_runtime.derive import architecture_of
from adapters_runtime.embeddings import EmbeddingMethods
from adapters_runtime.filing import FilingMethods
from adapters_runtime.generated import made_class
from adapters_runtime.inject.bank import ATTRIBUTE, AdapterBank, bank_of, base_of
from adapters_runtime.inject.checkpointing import keep_setups
from adapters_runtime.inject.point import Outside
from adapters_runtime.inject.prompt_point import PromptPoint
from adapters_runtime.inject.recording import record_on
from adapters_runtime.inject.routing import route_on
from adapters_runtime.inspecting import InspectingMethods
from adapters_runtime.interface import AdapterModelInterface
from adapters_runtime.inverting import InvertingMethods
from adapters_runtime.publishing import PublishingMethods
from adapters_runtime.running import RunningMethods

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class AdapterMethods(
    CombiningMethods,
    EmbeddingMethods,
    FilingMethods,
    InspectingMethods,
    InvertingMethods,
    PublishingMethods,
    RunningMethods,
):
    """What `init` adds to a model. Methods of these names that transformers has are replaced."""

    # --- adding, removing, listing

    def add_adapter(
        self,
        adapter_name: str,
        config: Any = None,
        overwrite_ok: bool = False,
        set_active: bool = False,
    ) -> None:
        """Add a new adapter; `config` is a configuration, its name, or text such as `lora[r=4]`.

        The adapter is frozen until `train_adapter`. Raises AdapterExists unless `overwrite_ok`,
        ConfigError, and UnsupportedSite when the architecture has no place for it.
        """
        bank = bank_of(self)  # type: ignore[arg-type]
        new = load_config(config)
        text = prompt_texts.embedded_text(self, new)  # type: ignore[arg-type]
        if overwrite_ok and adapter_name in bank.configs:
            bank.replace(adapter_name, new)
        else:
            bank.add(adapter_name, new)
        if text is not None:
            prompt_texts.start_prompts(bank, adapter_name, text)
        if set_active:
            self.set_active_adapters(adapter_name)

    def delete_adapter(self, adapter_name: str) -> None:
        """Remove an adapter and all its parameters; raises AdapterNotLoaded.

        A set-up in which it was active is deactivated.
        """
        bank = bank_of(self)  # type: ignore[arg-type]
        own = bank.activations.own
        bank.remove(adapter_name)
        if own is not None and adapter_name in own.names:
            bank.activate(None)

    @property
    def adapters_config(self) -> dict[str, AdapterConfig]:
        """Configurations by the names of the adapters."""
        return dict(bank_of(self).configs)  # type: ignore[arg-type]

    def has_adapters(self) -> bool:
        return bool(bank_of(self).configs)  # type: ignore[arg-type]

    def get_adapter(self, name: str) -> dict[int, dict[str, nn.Module]]:
        """Return {layer: {location: module}}; layer -1 holds what belongs to no layer."""
        return summary.modules_of(bank_of(self), name)  # type: ignore[arg-type]

    def adapter_summary(self, as_dict: bool = False) -> str | list[dict[str, Any]]:
        """Return a table of the adapters: size, share of the model, whether active and trained."""
        rows = summary.rows(self)  # type: ignore[arg-type]
        return rows if as_dict else summary.table(rows)

    # --- activating

    @property
    def active_adapters(self) -> AdapterCompositionBlock | None:
        """The set-up in force in this thread."""
        activation = bank_of(self).activations.current()  # type: ignore[arg-type]
        return None if activation is None else activation.setup

    @active_adapters.setter
    def active_adapters(self, adapter_setup: Any) -> None:
        self.set_active_adapters(adapter_setup)

    def set_active_adapters(
        self, adapter_setup: Any, skip_layers: Iterable[int] | None = None
    ) -> None:
        """Activate a name or a composition block on this model; None deactivates all.

        In layers of `skip_layers` (counted over all stacks) no adapter runs. Raises
        AdapterNotLoaded for a name that the model does not have, and leaves the former set-up.
        """
        setup = parse_composition(adapter_setup)
        activation = None if setup is None else Activation(setup, skip_layers or ())
        bank_of(self).activate(activation)  # type: ignore[arg-type]

    # --- training

    def train_adapter(self, adapter_setup: Any, train_embeddings: bool = False) -> None:
        """Freeze the base model, make the adapters of the set-up trainable, and activate it.

        With `train_embeddings` the active token embeddings are trained too.
        """
        setup = parse_composition(adapter_setup)
        bank = bank_of(self)  # type: ignore[arg-type]
        activation = None if setup is None else Activation(setup)
        if activation is not None:
            bank.check(activation)
        table = bank.tables[bank.tables.in_use] if train_embeddings else None
        names = () if activation is None else activation.names
        self.freeze_model()
        bank.points.requires_grad_(False)
        for name in names:  # second, for adapters may share parameters
            bank.freeze(name, frozen=False)
        bank.tables.freeze()
        if table is not None:
            table.requires_grad_(True)
        self.set_active_adapters(setup)

    def freeze_model(self, freeze: bool = True) -> None:
        """Freeze or unfreeze the base model; adapters and prediction heads keep their state."""
        base = base_of(self)  # type: ignore[arg-type]
        for name, parameter in base.named_parameters():
            if not name.startswith(f"{ATTRIBUTE}."):
                parameter.requires_grad_(not freeze)

    # --- merging

    def merge_adapter(self, name: str) -> None:
        """Fold a LoRA-like adapter into the weights; raises MergeStateError if one is merged."""
        merging.merge(bank_of(self), name)  # type: ignore[arg-type]

    def reset_adapter(self) -> None:
        """Undo `merge_adapter`, bit for bit; does nothing when nothing is merged."""
        merging.reset(bank_of(self))  # type: ignore[arg-type]

    def eject_prefix_tuning(self, name: str) -> None:
        """Replace the MLP of a prefix tuning by the prefixes that it gives; outputs stay the same.

        The configuration becomes flat, so that the adapter is saved, and loaded, as what it is now.
        Raises ConfigError when the adapter has no prefixes.
        """
        ejecting.eject(bank_of(self), name)  # type: ignore[arg-type]

    # --- what a hub needs to know

    def describe_adapter(self, name: str, **facts: Any) -> None:
        """Say what an adapter is for; `save_adapter` writes it for a hub.

        Facts: kind (task, language, ...), languages, series, datasets, training (a summary), ref
        and content (the published version it is). See `adapters_runtime.info.AdapterInfo`.
        """
        bank = bank_of(self)  # type: ignore[arg-type]
        bank.require(name)
        bank.info[name] = bank.info[name].with_changes(**facts)

    def describe_base(
        self, name: str | None = None, revision: str | None = None, tokenizer: Any = None
    ) -> None:
        """Say under which name others find the base model, and which tokenizer belongs to it.

        Without this, the name is that of the model's folder, whose tokenizer.json is used.
        """
        bank = bank_of(self)  # type: ignore[arg-type]
        bank.base_name = {"name": name, "revision": revision}
        bank.tokenizer = tokenizer


def init(
    model: "PreTrainedModel",
    adapters_config: Mapping[str, Any] | None = None,
    interface: AdapterModelInterface | Architecture | None = None,
) -> None:
    """Give a transformers model adapters, in place. A model that has them is left as it is.

    Until an adapter is added nothing of the model changes but its class: no parameter, no hook in
    a layer, no module is replaced. `interface` describes a model without a specification: an
    `AdapterModelInterface`, or an `Architecture`. Without either, the specification of an unknown
    model type is derived, with a warning; raises UnsupportedArchitecture when its certificate is
    not closed, and ConfigError when an interface's paths lead nowhere.
    """
    if isinstance(model, AdapterMethods):
        return
    configs = {name: load_config(config) for name, config in (adapters_config or {}).items()}
    if isinstance(interface, AdapterModelInterface):
        model.base_model_prefix = interface.base_model or model.base_model_prefix
        attach_bank(model, interface.specify(model))
        bank_of(model).interface = interface.to_dict()
    else:
        attach_bank(model, interface)
    model.__class__ = adapted_class(type(model))
    bank = bank_of(model)
    if (output := model.get_output_embeddings()) is not None:
        bank.end_stream_at(output, invert=bank.architecture.inverts_at_static_head)
    for name, config in configs.items():
        model.add_adapter(name, config)  # type: ignore[arg-type]


def attach_bank(model: "PreTrainedModel", architecture: Architecture | None = None) -> None:
    """Put an empty bank on the base of a model, and adapters' methods on the base."""
    base = base_of(model)
    if not hasattr(base, ATTRIBUTE):
        found = architecture or architecture_of(model)
        setattr(base, ATTRIBUTE, AdapterBank(base, found).train(base.training))
        listen_on(base)
    if base is not model:
        base.__class__ = adapted_class(type(base))
        listen_on(model)
        bank_of(base).model = Outside(model)
        for point in bank_of(base).of_type(PromptPoint):
            point.be_read_by(model)


def listen_on(model: nn.Module) -> None:
    """Let calls of a model, the base or one around it, say more than transformers knows of."""
    bank = bank_of(model)
    record_on(model, bank.activations)
    route_on(model, bank)
    keep_setups(model, bank)


def adapted_class(cls: type) -> type:
    """Return the subclass of `cls` that has AdapterMethods."""
    return cls if issubclass(cls, AdapterMethods) else made_class(_with_adapters, cls)


def _with_adapters(cls: type) -> type:
    return type(cls.__name__, (AdapterMethods, cls), {"__module__": cls.__module__})
