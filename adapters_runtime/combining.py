"""What a model can do with several adapters at once: fuse them, and save whole set-ups."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from adapters_runtime import averaging, fusing, sharing
from adapters_runtime.composition import AdapterCompositionBlock, Fuse, MultiTask, parse_composition
from adapters_runtime.configs import DEFAULT_ADAPTERFUSION_CONFIG, AdapterFusionConfig
from adapters_runtime.errors import ConfigError
from adapters_runtime.inject.bank import bank_of
from adapters_runtime.io import fusions, setup_files

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
        assert isinstance(loaded, AdapterFusionConfig)
        if overwrite_ok and fuse.name in bank.fusions:
            fusing.remove(bank, fuse.name)
        fusing.add(bank, fuse.name, fuse.flatten(), loaded)
        if set_active:
            self.set_active_adapters(fuse)  # type: ignore[attr-defined]

    def delete_adapter_fusion(self, adapter_names: Names) -> None:
        """Remove a fusion; raises FusionNotLoaded. A set-up that uses it is deactivated."""
        bank = bank_of(self)  # type: ignore[arg-type]
        name = _fusion_name(adapter_names)
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

    def save_adapter_fusion(
        self,
        save_directory: str | Path,
        adapter_names: Names,
        meta_dict: dict[str, Any] | None = None,
    ) -> None:
        """Write a fusion's folder; its members are saved by `save_adapter`."""
        fusions.save(self, Path(save_directory), _fusion_name(adapter_names), meta_dict)  # type: ignore[arg-type]

    def load_adapter_fusion(
        self,
        adapter_fusion_name_or_path: str | Path,
        load_as: str | None = None,
        set_active: bool = False,
    ) -> str:
        """Load a fusion's folder and return the fusion's name; its members must be loaded."""
        name = fusions.load(self, Path(adapter_fusion_name_or_path), load_as)  # type: ignore[arg-type]
        if set_active:
            members = bank_of(self).fusions[name].members  # type: ignore[arg-type]
            self.set_active_adapters(Fuse(*members, name=name))  # type: ignore[attr-defined]
        return name

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
        adapter_list: Sequence[str],
        weights: Sequence[float] | None = None,
        combine_strategy: str = "linear",
        normalize_weights: bool = True,
        overwrite_ok: bool = False,
        set_active: bool = False,
        svd_rank: int | None = None,
    ) -> None:
        """Add an adapter that is the weighted average of others of one configuration.

        `combine_strategy` is `linear`, or for LoRA also `lora_linear_only_negate_b` and
        `lora_delta_w_svd`; see `adapters_runtime.averaging`. Raises AdapterExists unless
        `overwrite_ok`, AdapterNotLoaded, and ConfigError when the adapters cannot be averaged so.
        """
        bank = bank_of(self)  # type: ignore[arg-type]
        shares = averaging.weights_of(len(adapter_list), weights, normalize=normalize_weights)
        sources = list(zip(adapter_list, shares, strict=True))
        temporary = f"\0{adapter_name}"  # the adapter to replace may be among the sources
        averaging.average(bank, temporary, sources, combine_strategy, svd_rank)
        if overwrite_ok and adapter_name in bank.configs:
            bank.remove(adapter_name)
        bank.rename(temporary, adapter_name)
        if set_active:
            self.set_active_adapters(adapter_name)  # type: ignore[attr-defined]

    # --- many at once

    def save_all_adapters(
        self,
        save_directory: str | Path,
        with_head: bool = True,
        meta_dict: dict[str, Any] | None = None,
    ) -> None:
        """Write each adapter into a folder of its name."""
        for name in bank_of(self).configs:  # type: ignore[arg-type]
            target = Path(save_directory) / name
            self.save_adapter(target, name, with_head=with_head, meta_dict=meta_dict)  # type: ignore[attr-defined]

    def save_all_adapter_fusions(
        self, save_directory: str | Path, meta_dict: dict[str, Any] | None = None
    ) -> None:
        """Write each fusion into a folder of its name."""
        for name in bank_of(self).fusions:  # type: ignore[arg-type]
            self.save_adapter_fusion(Path(save_directory) / name, name, meta_dict)

    def save_adapter_setup(
        self,
        save_directory: str | Path,
        adapter_setup: Any,
        head_setup: AdapterCompositionBlock | str | list[str] | None = None,
        meta_dict: dict[str, Any] | None = None,
    ) -> None:
        """Write a set-up with all its adapters, their heads, and its fusions."""
        setup = parse_composition(adapter_setup)
        if setup is None:
            raise ValueError("there is no set-up to save: it holds no adapter")
        setup_files.save(self, Path(save_directory), setup, head_setup, meta_dict)  # type: ignore[arg-type]

    def load_adapter_setup(
        self, adapter_setup_name_or_path: str | Path, set_active: bool = False
    ) -> tuple[AdapterCompositionBlock, Any]:
        """Load all adapters and fusions of a set-up; return it, and the set-up of its heads."""
        setup, heads = setup_files.load(self, Path(adapter_setup_name_or_path))  # type: ignore[arg-type]
        if set_active:
            self.set_active_adapters(setup)  # type: ignore[attr-defined]
        return setup, heads


def _as_fuse(names: Names, name: str | None = None) -> Fuse:
    members: Iterable[Any] = names.split(",") if isinstance(names, str) else names
    if isinstance(names, Fuse) and name is None:
        return names
    return Fuse(*members, name=name)


def _task_names(names: Tasks) -> tuple[str, ...]:
    return names.flatten() if isinstance(names, MultiTask) else tuple(names)


def _fusion_name(names: Names) -> str:
    return names if isinstance(names, str) else _as_fuse(names).name
