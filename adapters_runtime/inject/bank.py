"""The bank: one module registered on the base model, which owns every adapter parameter."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from torch import Tensor, nn

from adapters_runtime.architectures import Architecture, fitted
from adapters_runtime.composition import AdapterCompositionBlock
from adapters_runtime.configs import (
    AdapterConfig,
    AdapterFusionConfig,
    AdapterMethod,
    LayeredConfig,
    LoRAConfig,
    map_parts,
    parts_of,
)
from adapters_runtime.context import Activation, Activations
from adapters_runtime.errors import (
    AdapterExists,
    AdapterNotLoaded,
    FusionNotLoaded,
    InvalidComposition,
    UnsupportedSite,
)
from adapters_runtime.info import AdapterInfo
from adapters_runtime.inject.addressed_placement import Addresses
from adapters_runtime.inject.addressed_point import AddressedPoint
from adapters_runtime.inject.entry import Enter
from adapters_runtime.inject.placement import place
from adapters_runtime.inject.point import Outside, Point
from adapters_runtime.inject.stream_point import InvertiblePoint, RowsPoint
from adapters_runtime.inject.token_tables import TokenTables
from adapters_runtime.rows import BASE
from adapters_runtime.shapes.linear import require_maps

P = TypeVar("P", bound=Point)

ATTRIBUTE = "adapter_bank"
"""Name of the bank on the base model, and so the prefix of its keys in a state dict."""


class Fusion(NamedTuple):
    """What is known of a fusion beside its weights; see `adapters_runtime.fusing`."""

    config: AdapterFusionConfig
    members: tuple[str, ...]


class AdapterBank(nn.Module):
    def __init__(self, base: nn.Module, architecture: Architecture) -> None:
        super().__init__()
        architecture = fitted(architecture, [name for name, _ in base.named_parameters()])
        self.architecture = architecture
        self.activations = Activations()
        self.configs: dict[str, AdapterConfig] = {}
        self.info: dict[str, AdapterInfo] = {}
        self.fusions: dict[str, Fusion] = {}
        self.sharing: dict[str, tuple[str, ...]] = {}
        """Adapters that share parameters; see `adapters_runtime.sharing`."""
        self.interface: Mapping[str, Any] | None = None
        """What described the model, where it was no specification; `adapters_runtime.interface`."""
        self.tokenizer: Any = None
        """The tokenizer, or the path of its file, for the base's identity."""
        self.identity_memory: tuple[Any, dict[Any, Any]] | None = None
        """State of the base's parameters, and their digests; see `adapters_runtime.identity`."""
        self.base_name: dict[str, str | None] = {}
        """`name` and `revision` under which others find the base."""
        self.base = Outside(base)
        self.model = Outside(base)
        """The model that the base belongs to, whose heads adapters may name by their paths."""
        self.points = nn.ModuleList(place(base, architecture, self.activations))
        base.register_forward_pre_hook(
            Enter(self.activations, list(self.of_type(Point))), with_kwargs=True
        )

    def of_type(self, kind: type[P]) -> Iterator[P]:
        return (point for point in self.points if isinstance(point, kind))

    def require(self, name: str) -> AdapterConfig:
        """Return an adapter's configuration; raises AdapterNotLoaded."""
        if name not in self.configs:
            raise AdapterNotLoaded(name, tuple(self.configs))
        return self.configs[name]

    def held(self, name: str) -> AdapterConfig:
        """Return the configuration of what the model holds; raises AdapterNotLoaded.

        `delete_invertible_adapter` leaves an adapter that names a part which is not there.
        """
        config = self.require(name)
        if any(name in point.adapters for point in self.of_type(InvertiblePoint)):
            return config
        return map_parts(_without_inverse, config)

    def require_fusion(self, name: str) -> Fusion:
        """Return a fusion's configuration and members; raises FusionNotLoaded."""
        if name not in self.fusions:
            raise FusionNotLoaded(name, tuple(self.fusions))
        return self.fusions[name]

    def add(self, name: str, config: AdapterConfig) -> None:
        """Add an adapter at every point its configuration asks for, frozen and not active.

        Raises AdapterExists, and UnsupportedSite when the architecture has no such place at all.
        """
        if name in self.configs:
            raise AdapterExists(name)
        if name in ("", BASE):
            raise InvalidComposition(f"{name!r} stands for no adapter, and cannot be one's name")
        try:
            for member in parts_of(config):
                self._add_part(name, member)
        except BaseException:
            self._discard(name)
            raise
        self.configs[name] = config
        self.info[name] = AdapterInfo()
        self.freeze(name)

    def _add_part(self, name: str, part: AdapterConfig) -> None:
        allowed = self.architecture.methods
        for kind in AdapterMethod.get_from_config(part):
            if allowed is not None and kind not in allowed:
                raise UnsupportedSite(self.architecture.model_type, kind, allowed)
        if isinstance(part, LoRAConfig):
            require_maps(self.architecture, part)
        addresses = Addresses(self.base.module, self.model.module, self.architecture)
        known = list(self.of_type(AddressedPoint))
        for point in addresses.new_points(part, known, self.activations):
            self.points.append(point.train(self.training))
        added = [point.add(name, part) for point in self.of_type(Point)]
        if not any(added) and not self._left_out_everywhere(part):
            stacks = self.architecture.stacks
            sites = sorted({site.key for stack in stacks for site in stack.sites})
            raise UnsupportedSite(self.architecture.model_type, type(part).__name__, tuple(sites))

    def _left_out_everywhere(self, part: AdapterConfig) -> bool:
        """Return whether all layers are left out: what is asked for then is to change nothing."""
        layers = {point.layer for point in self.of_type(Point)} - {None}
        return isinstance(part, LayeredConfig) and layers <= set(part.leave_out)

    def remove(self, name: str) -> None:
        self.require(name)
        self._discard(name)
        del self.configs[name], self.info[name]
        left = {key: tuple(n for n in names if n != name) for key, names in self.sharing.items()}
        self.sharing = {key: names for key, names in left.items() if len(names) > 1}

    def replace(self, name: str, config: AdapterConfig) -> None:
        """Put a new adapter in the place of one; where it cannot be built, the old one stays."""
        temporary = hidden(name)
        self.add(temporary, config)
        self.remove(name)
        self.rename(temporary, name)

    def rename(self, old: str, new: str) -> None:
        self.require(old)
        if new in self.configs:
            raise AdapterExists(new)
        for point in self.of_type(Point):
            point.rename(old, new)
        self.configs[new] = self.configs.pop(old)
        self.info[new] = self.info.pop(old)

    def leave_out(self, name: str, layers: Collection[int]) -> None:
        """Take an adapter out of some layers, counted over all stacks."""
        if not layers:
            return
        config = self.require(name)
        left = {*config.get("leave_out", ()), *layers}
        self.configs[name] = config.replace(leave_out=tuple(sorted(left)))
        for point in self.of_type(Point):
            point.leave_out(name, layers)

    def _discard(self, name: str) -> None:
        for point in self.of_type(Point):
            point.remove(name)
        self._drop_unused()

    def _drop_unused(self) -> None:
        """Forget the points that were made for a configuration whose last adapter is gone."""
        unused = [point for point in self.of_type(AddressedPoint) if not point.adapters]
        if unused:
            self.points = nn.ModuleList(point for point in self.points if point not in unused)

    def freeze(self, name: str, *, frozen: bool = True) -> None:
        for parameter in self.parameters_of(name):
            parameter.requires_grad_(not frozen)

    def parameters_of(self, name: str) -> Iterator[nn.Parameter]:
        """Yield what training an adapter changes."""
        for point in self.of_type(Point):
            yield from point.parameters_of(name)

    def saved_tensors(self, name: str) -> Iterator[tuple[str, Tensor]]:
        """Yield an adapter's tensors under AdapterHub's names, without the base's prefix."""
        for point in self.of_type(Point):
            yield from point.saved_tensors(name)

    def fill(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Copy an adapter's tensors, under the names of `saved_tensors`, into its parameters."""
        for point in self.of_type(Point):
            point.fill(name, tensors)

    def check(self, activation: Activation) -> None:
        """Raise AdapterNotLoaded, or FusionNotLoaded, for a name that the model does not have."""
        for name in activation.names:
            self.require(name)
        for fusion in activation.fusions:
            self.require_fusion(fusion)

    def activate(self, activation: Activation | None) -> None:
        if activation is not None:
            self.check(activation)
        self.activations.own = activation
        if activation is not None:
            self._note_training(activation.setup)

    def _note_training(self, setup: AdapterCompositionBlock) -> None:
        """Remember in which set-up each trainable adapter is trained: its contract says so."""
        embeddings = self.tables.origin()
        for name in setup.flatten():
            if any(parameter.requires_grad for parameter in self.parameters_of(name)):
                self.info[name] = replace(
                    self.info[name], setup=setup, embeddings=embeddings, requires=None
                )

    def use_table(self, name: str) -> None:
        """Make token embeddings the active ones; raises EmbeddingsNotLoaded."""
        self.tables.use(name)
        if self.activations.own is not None:
            self._note_training(self.activations.own.setup)

    def end_stream_at(self, output_embedding: nn.Module, *, invert: bool) -> None:
        """Tell the stream's adapters which module projects to the vocabulary."""
        self.tables.end_at(output_embedding)
        for rows in self.of_type(RowsPoint):
            rows.end_at(output_embedding)
        for invertible in self.of_type(InvertiblePoint) if invert else ():
            invertible.end_at(output_embedding)

    def forget_end(self, output_embedding: nn.Module) -> None:
        """Undo `end_stream_at`, for a head that is removed."""
        for point in self.of_type(Point):
            point.drop_hooks(output_embedding)

    @property
    def tables(self) -> TokenTables:
        return next(self.of_type(TokenTables))


def hidden(name: str) -> str:
    """Return a name that nobody can ask for, for an adapter that is not yet whole."""
    return f"\0{name}"


def bank_of(model: nn.Module) -> AdapterBank:
    """Return the bank of an initialised model."""
    bank = getattr(base_of(model), ATTRIBUTE, None)
    if not isinstance(bank, AdapterBank):
        raise TypeError(f"{type(model).__name__} has no adapters yet: call init(model) first")
    return bank


def base_of(model: nn.Module) -> nn.Module:
    base = getattr(model, "base_model", model)
    assert isinstance(base, nn.Module)
    return base if base is model else base_of(base)  # DPR's encoder is a head around a BERT


def _without_inverse(part: AdapterConfig) -> AdapterConfig:
    if part.get("inv_adapter") is None:
        return part
    return part.replace(inv_adapter=None, inv_adapter_reduction_factor=None)
