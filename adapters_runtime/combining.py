"""What a model can do with several adapters at once: fuse them, and save whole set-ups."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from adapters_runtime import averaging, fusing, sharing, weighting
from adapters_runtime.composition import Fuse, MultiTask, parse_composition
from adapters_runtime.configs import DEFAULT_ADAPTERFUSION_CONFIG, AdapterFusionConfig
from adapters_runtime.errors import AdapterExists, ConfigError
from adapters_runtime.inject.bank import bank_of, hidden

Names = Fuse | list[str] | tuple[str, ...] | str
"""Adapters to fuse; a string holds their names with commas between them."""


Tasks = MultiTask | list[str] | tuple[str, ...]
"""Adapters of several tasks."""


class CombiningMethods:
    """Methods of a model with adapters, beside those for single ones."""

    # --- fusions

    def add_adapter_fusion(
        self,
        adapter_names: Names,
        config: Any = None,
        name: str | None = None,
        overwrite_ok: bool = False,
        set_active: bool = False,
    ) -> None:
        """Add a fusion of adapters; `config` is a configuration, `static` or `dynamic` (default).

        Unless given, its name is that of its members, `a,b`. It stands where all of them have a
        bottleneck, and is frozen until `train_adapter_fusion`. Raises FusionExists unless
        `overwrite_ok`, AdapterNotLoaded, and ConfigError when the members share no place.
        """
        bank = bank_of(self)  # type: ignore[arg-type]
        fuse = _as_fuse(adapter_names, name)
        loaded = AdapterFusionConfig.load(config or DEFAULT_ADAPTERFUSION_CONFIG)
        # What a stack gives is what its last adapter gives: that is what is mixed.
        mixed = (child if isinstance(child, str) else child.last() for child in fuse)
        members = tuple(dict.fromkeys(mixed))
        if overwrite_ok and fuse.name in bank.fusions:
            fusing.replace(bank, fuse.name, members, loaded)
        else:
            fusing.add(bank, fuse.name, members, loaded)
        if set_active:
            self.set_active_adapters(fuse)  # type: ignore[attr-defined]

    def delete_adapter_fusion(self, adapter_names: Names) -> None:
        """Remove a fusion; raises FusionNotLoaded. A set-up that uses it is deactivated."""
        bank = bank_of(self)  # type: ignore[arg-type]
        name = fusion_name(adapter_names)
        fusing.remove(bank, name)
        if bank.activations.own is not None and name in bank.activations.own.fusions:
            bank.activate(None)

    def train_adapter_fusion(self, adapter_setup: Any, unfreeze_adapters: bool = False) -> None:
        """Freeze all but the fusions of a set-up, and activate it.

        With `unfreeze_adapters` the adapters in it are trained as well.
        """
        bank = bank_of(self)  # type: ignore[arg-type]
        setup = parse_composition(adapter_setup)
        self.train_adapter(setup)  # type: ignore[attr-defined]
        activation = bank.activations.own
        if not unfreeze_adapters:
            bank.points.requires_grad_(False)
        for name in () if activation is None else activation.fusions:
            fusing.freeze(bank, name, frozen=False)

    def get_fusion_regularization_loss(self) -> Tensor:
        """Return what the active fusions add to the loss: how far values are from the identity."""
        return fusing.regularization_loss(bank_of(self))  # type: ignore[arg-type]

    # --- parameters in common

    def share_parameters(
        self,
        adapter_names: Tasks,
        name: str | None = None,
        reference_adapter_name: str | None = None,
    ) -> None:
        """Let MTL-LoRAs have A and B in common, with the values of the reference (the first).

        `name` says how `unshare_parameters` may call them. Raises ConfigError unless all are
        MTL-LoRAs of one configuration.
        """
        bank = bank_of(self)  # type: ignore[arg-type]
        names = _task_names(adapter_names)
        sharing.share(bank, names, reference_adapter_name or names[0])
        bank.sharing[name or ",".join(names)] = names

    def unshare_parameters(
        self, adapter_names: Tasks | None = None, name: str | None = None
    ) -> None:
        """Undo `share_parameters`, for these adapters or for those that it called `name`."""
        bank = bank_of(self)  # type: ignore[arg-type]
        given = None if adapter_names is None else _task_names(adapter_names)
        key = name or ",".join(given or ())
        names = given or bank.sharing.get(key)
        if names is None:
            known = ", ".join(map(repr, bank.sharing)) or "none"
            raise ConfigError(f"no adapters share parameters as {key!r} (there are: {known})")
        sharing.unshare(bank, names)
        bank.sharing.pop(key, None)

    # --- averages

    def average_adapter(
        self,
        adapter_name: str,
        adapter_list: Sequence[str] | Mapping[str, float],
        weights: Sequence[float] | None = None,
        combine_strategy: str = "linear",
        normalize_weights: bool = True,
        overwrite_ok: bool = False,
        set_active: bool = False,
        svd_rank: int | None = None,
    ) -> None:
        """Add an adapter that is the weighted average of others of one configuration.

        `adapter_list` may be {name: weight}, as for `average_head`.
        `combine_strategy` is `linear`, or for LoRA also `lora_linear_only_negate_b` and
        `lora_delta_w_svd`; see `adapters_runtime.averaging`. Raises AdapterExists unless
        `overwrite_ok`, AdapterNotLoaded, and ConfigError when the adapters cannot be averaged so.
        """
        bank = bank_of(self)  # type: ignore[arg-type]
        if isinstance(adapter_list, Mapping):
            weights = list(adapter_list.values())
        shares = averaging.weights_of(len(adapter_list), weights, normalize=normalize_weights)
        sources = list(zip(adapter_list, shares, strict=True))
        if adapter_name in bank.configs and not overwrite_ok:
            raise AdapterExists(adapter_name)
        temporary = hidden(adapter_name)  # the adapter to replace may be among the sources
        averaging.average(bank, temporary, sources, combine_strategy, svd_rank)
        if adapter_name in bank.configs:
            bank.remove(adapter_name)
        bank.rename(temporary, adapter_name)
        if set_active:
            self.set_active_adapters(adapter_name)  # type: ignore[attr-defined]

    def add_weighted_adapter(
        self,
        adapters: Sequence[str],
        weights: Sequence[float],
        adapter_name: str,
        combination_type: str = "svd",
        svd_rank: int | None = None,
        density: float | None = None,
        majority_sign_method: str = "total",
    ) -> None:
        """Add a LoRA made of several, as PEFT's method of this name does; see `weighting`.

        Weights may be negative and are used as they are. Ranks may differ for `cat` and `svd`;
        `density` is for `ties` and `magnitude_prune`. Raises AdapterExists, AdapterNotLoaded, and
        ConfigError when the adapters cannot be combined so.
        """
        shares = averaging.weights_of(len(adapters), weights, normalize=False)
        sources = list(zip(adapters, shares, strict=True))
        how = weighting.How(combination_type, svd_rank, density, majority_sign_method)
        weighting.add_weighted(self, adapter_name, sources, how)  # type: ignore[arg-type]


def _as_fuse(names: Names, name: str | None = None) -> Fuse:
    members: Iterable[Any] = names.split(",") if isinstance(names, str) else names
    if isinstance(names, Fuse) and name is None:
        return names
    return Fuse(*members, name=name)


def _task_names(names: Tasks) -> tuple[str, ...]:
    return names.flatten() if isinstance(names, MultiTask) else tuple(names)


def fusion_name(names: Names) -> str:
    return names if isinstance(names, str) else _as_fuse(names).name
