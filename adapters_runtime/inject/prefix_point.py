"""Prefixes of one attention, and the pool that all attentions of a model take theirs from.

How they enter the attention is another matter: see `attention`, `softmax_attention`, and
`wrapped_attention`.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adapters_runtime.configs import AdapterConfig, PeftPrefixConfig, PrefixTuningConfig
from adapters_runtime.context import Activations
from adapters_runtime.errors import ConfigError, InvalidComposition
from adapters_runtime.inject.cell import Cell
from adapters_runtime.inject.evaluation import Place, evaluate
from adapters_runtime.inject.point import Outside, Point
from adapters_runtime.meaning import BLOCKS
from adapters_runtime.methods.prefix_tuning import Prefixes, PrefixGate, new_prefixes


class PrefixState(NamedTuple):
    """Keys and values before those of the tokens, both (rows, heads, length, head width)."""

    keys: Tensor
    values: Tensor
    hidden: Tensor
    """What entered the attention, (rows, tokens, width): gates depend on it."""
    visible: Tensor | None = None
    """(rows, length): False fills rows up to the longest prefix. None stands for all True."""
    unplaced: int | Tensor = 0
    """How many of the places have no position; (rows,) where that differs by the row."""

    @property
    def length(self) -> int:
        return self.keys.shape[2]


class PrefixPoint(Point, Place[PrefixState]):
    """One attention. Its own tensors are the gates; an adapter without them stands here too."""

    method = "prefix tuning"
    blocks = BLOCKS["prefix_tuning"]
    container = "prefix_gates"

    def __init__(
        self, path: str, layer: int, activations: Activations, location: str, widths: "Widths"
    ) -> None:
        super().__init__(path, layer, activations)
        self.location = location
        self.widths = widths
        self.hidden = Cell()
        """What entered the attention; the hook `CaptureHidden` puts it here."""
        self.pool: Outside | None = None
        self.place_in_pool: dict[str, int] = {}
        """Adapter -> how many attentions of this location come before it in the pool."""

    def build(self, config: AdapterConfig) -> nn.Module | None:
        if not isinstance(config, PrefixTuningConfig) or not self.wanted(config):
            return None
        return PrefixGate(self.widths.stream, config) if config.use_gating else nn.Identity()

    def wanted(self, config: PrefixTuningConfig) -> bool:
        return self.widths.field in config.places() and self.layer not in config.leave_out

    def remove(self, name: str) -> None:
        self.place_in_pool.pop(name, None)
        super().remove(name)

    def rename(self, old: str, new: str) -> None:
        super().rename(old, new)
        if old in self.place_in_pool:
            self.place_in_pool[new] = self.place_in_pool.pop(old)

    def state_before(self, key: Tensor) -> PrefixState | None:
        """Return the active prefixes to put before `key`, (rows, heads, tokens, head width).

        None when nothing active stands here.
        """
        hidden, setup = self.hidden.take(), self.active()
        if setup is None:
            return None
        assert hidden is not None
        none = key[:, :, :0]
        state = evaluate(self, setup, PrefixState(none, none, hidden))
        return state if state.length else None

    # --- Place

    def holds(self, name: str) -> bool:
        return name in self.place_in_pool

    def leaf(self, name: str, state: PrefixState) -> PrefixState:
        rows, heads = state.keys.shape[:2]
        keys, values = self.rows_of(name, rows)
        keys = keys.unflatten(-1, (heads, -1)).transpose(1, 2).to(state.keys)
        values = values.unflatten(-1, (heads, -1)).transpose(1, 2).to(state.keys)
        gate = self.adapters[name]
        if isinstance(gate, PrefixGate):
            gates = gate(state.hidden)
            if self.activations.recording() is not None:
                self.record_gates(name, self.location, gates)
            keys = keys * gates[:, :1, None, None]
            values = values * gates[:, -1:, None, None]
        # PEFT's prefixes have positions: those of the text follow them.
        prefixes = self._pool().prefixes(name, self.location)
        placed = isinstance(prefixes.config, PeftPrefixConfig)
        return _before(state, keys, values, unplaced=0 if placed else keys.shape[2])

    def rows_of(self, name: str, batch: int) -> tuple[Tensor, Tensor]:
        """Return keys and values of an adapter here, both (batch, length, width)."""
        pool = self._pool()
        both = pool.of_layer(name, self.location, self.place_in_pool[name])
        return pool.prefixes(name, self.location).rows(both, batch)

    def _pool(self) -> "PrefixPool":
        assert self.pool is not None
        pool = self.pool.module
        assert isinstance(pool, PrefixPool)
        return pool

    def size(self, state: PrefixState, dim: int) -> int:
        return state.keys.shape[dim]

    def cut(self, state: PrefixState, dim: int, start: int, stop: int) -> PrefixState:
        parts = (part[start:stop] if isinstance(part, Tensor) else part for part in state)
        return PrefixState(*parts)  # type: ignore[arg-type]

    def join(self, states: Sequence[PrefixState], dim: int) -> PrefixState:
        longest = max(state.length for state in states)
        filled = [_filled(state, longest) for state in states]
        keys = torch.cat([state.keys for state in filled])
        values = torch.cat([state.values for state in filled])
        hidden = torch.cat([state.hidden for state in filled])
        visible = None
        if any(state.visible is not None for state in filled):
            visible = torch.cat([_visible(state) for state in filled])
        return PrefixState(keys, values, hidden, visible, _unplaced(states))

    def mean(self, states: Sequence[PrefixState], weights: Sequence[float]) -> PrefixState:
        lengths = {state.length for state in states}
        unequal = len(lengths) > 1 or isinstance(_unplaced(states), Tensor)
        if unequal or any(state.visible is not None for state in states):
            raise InvalidComposition(
                "Average needs prefixes of one length at every place, and here their lengths are "
                f"{[state.length for state in states]} ({self.path})"
            )
        weighted = list(zip(weights, states, strict=True))
        keys = torch.stack([weight * state.keys for weight, state in weighted]).sum(dim=0)
        values = torch.stack([weight * state.values for weight, state in weighted]).sum(dim=0)
        return states[0]._replace(keys=keys, values=values)


class OpenPass:
    """Pre-hook on the base model: its layers may share what they compute from now on."""

    def __init__(self, pool: "PrefixPool") -> None:
        self.pool = pool

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not torch.compiler.is_compiling():
            self.pool.in_pass.put({})


class ClosePass:
    """Hook on the base model, also after an error: nothing of a pass is kept alive behind it."""

    def __init__(self, pool: "PrefixPool") -> None:
        self.pool = pool

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self.pool.in_pass.clear()


class CaptureHidden:
    """Pre-hook on the attention: gates depend on what enters it."""

    def __init__(self, point: PrefixPoint) -> None:
        self.point = point

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.point.hidden.put(args[0] if args else kwargs["hidden_states"])


class Widths(NamedTuple):
    """What the shapes of an attention's prefixes follow from."""

    field: str
    """The place, in the words of a configuration: `self_prefix`, `encoder_prefix`, ..."""
    key: int
    """Features of all key heads together."""
    stream: int


class PrefixPool(Point):
    """The prefixes of all attentions, by location: one MLP gives those of all its layers."""

    container = "prefix_tunings"

    def __init__(self, path: str, activations: Activations, places: Sequence[PrefixPoint]) -> None:
        super().__init__(path, None, activations)
        self.places = tuple(places)  # not a ModuleList: they belong to the bank
        self.in_pass = Cell()
        """What the layers of a forward pass have in common, while one runs; see `of_layer`."""
        for place in places:
            place.pool = Outside(self)

    def build(self, config: AdapterConfig) -> nn.Module | None:
        if not isinstance(config, PrefixTuningConfig):
            return None
        chosen = _by_location(place for place in self.places if place.wanted(config))
        locations = nn.ModuleDict()
        for location, places in chosen.items():
            width = _common_width(location, places)
            inputs = places[0].widths.stream
            locations[location] = new_prefixes(config, len(places), width, inputs)
        return locations if len(locations) else None

    def add(self, name: str, config: AdapterConfig) -> bool:
        if isinstance(config, PrefixTuningConfig) and name in self.adapters:
            raise ConfigError(
                "two parts of the union are prefix tuning, and a file has room for one; put all "
                "layers into one part"
            )
        if not super().add(name, config):
            return False
        assert isinstance(config, PrefixTuningConfig)
        self._number(name, [place for place in self.places if place.wanted(config)])
        return True

    def _number(self, name: str, chosen: Sequence[PrefixPoint]) -> None:
        for places in _by_location(chosen).values():
            for index, place in enumerate(places):
                place.place_in_pool[name] = index

    def leave_out(self, name: str, layers: Collection[int]) -> None:
        """Drop the prefixes of some layers; called before the attentions forget the adapter."""
        if name not in self.adapters:
            return
        using = [place for place in self.places if name in place.place_in_pool]
        for location, places in _by_location(using).items():
            dropped = [i for i, place in enumerate(places) if place.layer in layers]
            self.prefixes(name, location).drop_layers(dropped)
        self._number(name, [place for place in using if place.layer not in layers])

    def prefixes(self, name: str, location: str) -> Prefixes:
        locations = self.adapters[name]
        assert isinstance(locations, nn.ModuleDict)
        prefixes = locations[location]
        assert isinstance(prefixes, Prefixes)
        return prefixes

    def of_layer(self, name: str, location: str, layer: int) -> Tensor:
        """Return keys and values of one layer, (length, 2 · width).

        Within a forward pass those of all layers are computed together, once.
        """
        prefixes, common = self.prefixes(name, location), self.in_pass.value
        if common is None or torch.compiler.is_compiling():
            return prefixes.of_layer(layer)
        key = (name, location, torch.is_grad_enabled())
        if key not in common:
            common[key] = prefixes.of_each_layer()
        both: Tensor = common[key][layer]
        return both

    def clear(self) -> None:
        self.in_pass.clear()

    def eject(self, name: str) -> None:
        """Keep what the MLPs give, and drop the MLPs."""
        locations = self.adapters[name]
        assert isinstance(locations, nn.ModuleDict)
        for location in list(locations):
            locations[location] = self.prefixes(name, location).as_flat()

    def parameters_near(self) -> Iterator[tuple[nn.Module, nn.Parameter]]:
        return self.places[0].parameters_near()


def _by_location(
    places: "Iterator[PrefixPoint] | Sequence[PrefixPoint]",
) -> dict[str, list[PrefixPoint]]:
    found: dict[str, list[PrefixPoint]] = {}
    for place in places:
        found.setdefault(place.location, []).append(place)
    return found


def _common_width(location: str, places: Sequence[PrefixPoint]) -> int:
    widths = {place.widths.key for place in places}
    if len(widths) > 1:
        raise ConfigError(
            f"prefixes of {location} come out of one matrix, so that keys must be equally wide in "
            f"all its layers; here they are {sorted(widths)}: leave some layers out"
        )
    return widths.pop()


def _before(state: PrefixState, keys: Tensor, values: Tensor, *, unplaced: int) -> PrefixState:
    """Put more keys and values before those of a state."""
    if not state.length:
        return state._replace(keys=keys, values=values, unplaced=unplaced)
    visible = state.visible
    if visible is not None:
        visible = F.pad(visible, (keys.shape[2], 0), value=True)
    return PrefixState(
        torch.cat([keys, state.keys], 2),
        torch.cat([values, state.values], 2),
        state.hidden,
        visible,
        state.unplaced + unplaced,
    )


def _filled(state: PrefixState, length: int) -> PrefixState:
    """Fill a state up, at its front, with places that nothing may attend to."""
    missing = length - state.length
    if not missing:
        return state
    keys, values = (F.pad(tensor, (0, 0, missing, 0)) for tensor in state[:2])
    return state._replace(keys=keys, values=values, visible=F.pad(_visible(state), (missing, 0)))


def _visible(state: PrefixState) -> Tensor:
    if state.visible is not None:
        return state.visible
    return torch.ones(state.keys.shape[0], state.length, dtype=torch.bool, device=state.keys.device)


def _unplaced(states: Sequence[PrefixState]) -> int | Tensor:
    first = states[0].unplaced
    if all(isinstance(state.unplaced, int) and state.unplaced == first for state in states):
        return first
    return torch.cat([_by_row(state) for state in states])


def _by_row(state: PrefixState) -> Tensor:
    if isinstance(state.unplaced, Tensor):
        return state.unplaced
    return torch.full((len(state.keys),), state.unplaced, device=state.keys.device)
