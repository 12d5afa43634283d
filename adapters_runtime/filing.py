"""Methods for the files of adapters, heads, fusions and set-ups.

Parameters have the names and the order of AdapterHub's library. `version` is a revision on a hub,
`use_safetensors` only stands for its callers: weights are written as safetensors, and read from
those or, without running what is in them, from pickles.
"""

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from adapters_runtime.combining import Names, fusion_name
from adapters_runtime.composition import AdapterCompositionBlock, Fuse, parse_composition
from adapters_runtime.configs import load_config
from adapters_runtime.inject.bank import bank_of
from adapters_runtime.io import files, folder, fusions, head_folder, setup_files, whole
from adapters_runtime.io.peft import writing as peft
from adapters_runtime.io.sources import located


class WeightsLoader(Protocol):
    """Writes and reads what else belongs into an adapter's folder, beside the adapter."""

    def save(self, save_directory: str, name: str) -> Any: ...

    def load(self, save_directory: str, load_as: str | None = None, **facts: Any) -> Any: ...


Loaders = Iterable[WeightsLoader] | None
HeadSetup = AdapterCompositionBlock | str | list[str] | None


class FilingMethods:
    """Methods of a model with adapters that write and read folders."""

    # --- adapters

    def save_adapter(
        self,
        save_directory: str | Path,
        adapter_name: str,
        with_head: bool = True,
        meta_dict: dict[str, Any] | None = None,
        custom_weights_loaders: Loaders = None,
        use_safetensors: bool = True,
    ) -> None:
        """Write an adapter's folder; see `adapters_runtime.io.folder`."""
        _note_format(use_safetensors=use_safetensors)
        folder.save(self, Path(save_directory), adapter_name, with_head=with_head, meta=meta_dict)  # type: ignore[arg-type]
        _save_more(custom_weights_loaders, save_directory, adapter_name)

    def save_adapter_as_peft(self, save_directory: str | Path, adapter_name: str) -> None:
        """Write LoRA, DoRA, VeRA, (IA)³, prefixes or prompts as a folder that PEFT loads.

        PEFT computes the same with it; heads stay with the model. Raises AdapterNotLoaded,
        MergeStateError while one is merged, and ConfigError for what PEFT has no place for.
        """
        peft.write(self, Path(save_directory), adapter_name)  # type: ignore[arg-type]

    def load_adapter(
        self,
        adapter_name_or_path: str | Path,
        config: Any = None,
        version: str | None = None,
        model_name: str | None = None,
        load_as: str | None = None,
        with_head: bool = True,
        custom_weights_loaders: Loaders = None,
        leave_out: Iterable[int] | None = None,
        id2label: Mapping[int, str] | None = None,
        set_active: bool = False,
        use_safetensors: bool = True,
        allow_base_mismatch: bool = False,
        **download: Any,
    ) -> str:
        """Load an adapter's folder, here or on a hub, and return its name on this model.

        `owner/name` is looked for on the hub that `huggingface_hub` knows (HF_ENDPOINT) where no
        folder is called so; `download` goes to its `snapshot_download`. `model_name` has no effect:
        the adapter says which base it is for. `config` takes the place of the adapter's own, of
        which AdapterHub's library does not save every field.

        An adapter of that name is replaced. Nothing is loaded unless everything fits: raises
        TensorMismatch when tensors are missing, unexpected or of another shape, BaseMismatch when
        the adapter names another base (unless `allow_base_mismatch`), FormatError when the folder
        is none. Layers in `leave_out`, counted over all stacks, get none; `id2label` names the
        classes of the head anew.
        """
        source = located(adapter_name_or_path, version, **download)
        prepared = folder.prepare(
            self,  # type: ignore[arg-type]
            source,
            config=None if config is None else load_config(config),
            load_as=load_as,
            with_head=with_head,
            leave_out=tuple(leave_out or ()),
            id2label=id2label,
            allow_base_mismatch=allow_base_mismatch,
        )
        name = prepared.install()
        for loader in custom_weights_loaders or ():
            loader.load(str(source), load_as, main_load_name=name, id2label=id2label)
        if set_active:
            self.set_active_adapters(name)  # type: ignore[attr-defined]
        return name

    def save_all_adapters(
        self,
        save_directory: str | Path,
        with_head: bool = True,
        meta_dict: dict[str, Any] | None = None,
        custom_weights_loaders: Loaders = None,
        use_safetensors: bool = True,
    ) -> None:
        """Write each adapter into a folder of its name; raises FormatError where it can be none."""
        for name, target in _folders(save_directory, bank_of(self).configs):  # type: ignore[arg-type]
            self.save_adapter(
                target, name, with_head, meta_dict, custom_weights_loaders, use_safetensors
            )

    # --- fusions

    def save_adapter_fusion(
        self,
        save_directory: str | Path,
        adapter_names: Names,
        meta_dict: dict[str, Any] | None = None,
        custom_weights_loaders: Loaders = None,
        with_head: bool | str = False,
        use_safetensors: bool = True,
    ) -> None:
        """Write a fusion's folder; its members are saved by `save_adapter`.

        `with_head` is the name of a head that goes with it; True: the head is called as the fusion.
        """
        _note_format(use_safetensors=use_safetensors)
        name = fusion_name(adapter_names)
        head = name if with_head is True else with_head or None
        fusions.save(self, Path(save_directory), name, meta_dict, head)  # type: ignore[arg-type]
        _save_more(custom_weights_loaders, save_directory, name)

    def load_adapter_fusion(
        self,
        adapter_fusion_name_or_path: str | Path,
        load_as: str | None = None,
        custom_weights_loaders: Loaders = None,
        set_active: bool = False,
        with_head: bool = True,
        use_safetensors: bool = True,
        **download: Any,
    ) -> str:
        """Load a fusion's folder and return the fusion's name; its members must be loaded."""
        source = located(adapter_fusion_name_or_path, **download)
        with_head = with_head and head_folder.is_one(source) and hasattr(self, "heads")
        head = head_folder.prepare(self, source)[1] if with_head else None  # type: ignore[arg-type]
        name = fusions.load(self, source, load_as)  # type: ignore[arg-type]
        if head is not None:
            head.install()
        for loader in custom_weights_loaders or ():
            loader.load(str(source), load_as, main_load_name=name)
        if set_active:
            members = bank_of(self).fusions[name].members  # type: ignore[arg-type]
            self.set_active_adapters(Fuse(*members, name=name))  # type: ignore[attr-defined]
        return name

    def save_all_adapter_fusions(
        self,
        save_directory: str | Path,
        meta_dict: dict[str, Any] | None = None,
        custom_weights_loaders: Loaders = None,
        use_safetensors: bool = True,
    ) -> None:
        """Write each fusion into a folder of its name; raises FormatError where it can be none."""
        for name, target in _folders(save_directory, bank_of(self).fusions):  # type: ignore[arg-type]
            self.save_adapter_fusion(
                target, name, meta_dict, custom_weights_loaders, use_safetensors=use_safetensors
            )

    # --- set-ups

    def save_adapter_setup(
        self,
        save_directory: str | Path,
        adapter_setup: Any,
        head_setup: HeadSetup = None,
        meta_dict: dict[str, Any] | None = None,
        custom_weights_loaders: Loaders = None,
        use_safetensors: bool = True,
    ) -> None:
        """Write a set-up with all its adapters, their heads, and its fusions."""
        _note_format(use_safetensors=use_safetensors)
        setup = parse_composition(adapter_setup)
        if setup is None:
            raise ValueError("there is no set-up to save: it holds no adapter")
        setup_files.save(self, Path(save_directory), setup, head_setup, meta_dict)  # type: ignore[arg-type]
        for name in setup.flatten():
            _save_more(custom_weights_loaders, Path(save_directory) / name, name)

    def load_adapter_setup(
        self,
        adapter_setup_name_or_path: str | Path,
        version: str | None = None,
        custom_weights_loaders: Loaders = None,
        set_active: bool = False,
        use_safetensors: bool = True,
        **download: Any,
    ) -> tuple[AdapterCompositionBlock, Any]:
        """Load all adapters and fusions of a set-up; return it, and the set-up of its heads."""
        source = located(adapter_setup_name_or_path, version, **download)
        setup, heads = setup_files.load(self, source)  # type: ignore[arg-type]
        for loader in custom_weights_loaders or ():
            for name in setup.flatten():
                loader.load(str(source / name), name, main_load_name=name)
        if set_active:
            self.set_active_adapters(setup)  # type: ignore[attr-defined]
        return setup, heads

    # --- heads

    def save_head(
        self,
        save_directory: str | Path,
        head_name: str | None = None,
        use_safetensors: bool = True,
    ) -> None:
        """Write a head's folder; without a name that of the active head. Raises HeadNotFound."""
        _note_format(use_safetensors=use_safetensors)
        head_folder.save(self, Path(save_directory), head_name)  # type: ignore[arg-type]

    def save_all_heads(self, save_directory: str | Path, use_safetensors: bool = True) -> None:
        """Write each flexible head to a folder of its own."""
        _note_format(use_safetensors=use_safetensors)
        head_folder.save_all(self, Path(save_directory))  # type: ignore[arg-type]

    def load_head(
        self,
        save_directory: str | Path,
        load_as: str | None = None,
        id2label: Mapping[int, str] | None = None,
        use_safetensors: bool = True,
        **download: Any,
    ) -> str:
        """Load a head's folder and return the head's name; it replaces one of that name.

        Raises TensorMismatch, and FormatError when the head is for another kind of model.
        """
        return head_folder.load(self, located(save_directory, **download), load_as, id2label)  # type: ignore[arg-type]

    # --- the whole model

    def save_pretrained(
        self,
        save_directory: str | Path,
        *args: Any,
        state_dict: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Save the model as transformers does, and its adapters beside it.

        The model's own files are those of a model without adapters, which transformers loads as
        such. Adapters and fusions have folders of their own in `adapters/`, from where `load_model`
        and `AutoAdapterModel.from_pretrained` bring them back. An adapter that is merged into the
        weights is saved there, and no folder is written.
        """
        state = self.state_dict() if state_dict is None else state_dict  # type: ignore[attr-defined]
        plain = whole.without_adapters(state)
        super().save_pretrained(save_directory, *args, state_dict=plain, **kwargs)  # type: ignore[misc]
        whole.save_adapters(self, Path(save_directory))  # type: ignore[arg-type]


def _folders(parent: str | Path, names: Iterable[str]) -> list[tuple[str, Path]]:
    return [(name, files.nested_folder(Path(parent), name)) for name in names]


def _save_more(loaders: Loaders, folder: str | Path, name: str) -> None:
    for loader in loaders or ():
        loader.save(str(folder), name)


def _note_format(*, use_safetensors: bool) -> None:
    if not use_safetensors:
        warnings.warn(
            "use_safetensors=False has no effect: weights are written as safetensors",
            FutureWarning,
            stacklevel=3,
        )
