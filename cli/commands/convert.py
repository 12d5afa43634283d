"""`hubctl convert`."""

import shutil
import warnings
from pathlib import Path
from typing import Any

import click

from cli import output
from cli.failures import Failure
from cli.framework import HubCommand, json_option

NEW_NAMES = {
    "pytorch_adapter.bin": "adapter.safetensors",
    "pytorch_model_head.bin": "model_head.safetensors",
    "pytorch_model_adapter_fusion.bin": "model_adapter_fusion.safetensors",
    "adapter_model.bin": "adapter_model.safetensors",
}
"""What AdapterHub and PEFT call the same weights in the two formats."""

PICKLES = (".bin", ".pt", ".pth", ".pkl")


@click.command(
    "convert",
    cls=HubCommand,
    examples=("hubctl convert ./old-adapter", "hubctl convert ./old-adapter --to ./adapter"),
)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write a new folder. Else the weights are converted in place.",
)
@json_option
def command(*, folder: Path, to: Path | None, as_json: bool) -> None:
    """Turn pickled weights into safetensors.

    A pickle can run any program when it is read, so hubs refuse it. Here it is read in the mode
    that builds tensors and nothing else; a file that needs more is refused.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix in PICKLES)
    if not found:
        kinds = ", ".join(PICKLES)
        raise Failure(f"{folder} holds no pickled weights ({kinds}); there is nothing to convert")
    read = {path.relative_to(folder): _read(path) for path in found}
    target = to or folder
    if to is not None:
        if to.exists() and any(to.iterdir()):
            raise Failure(f"{to} exists and is not empty", hint="name another folder with --to")
        shutil.copytree(folder, to, dirs_exist_ok=True, ignore=lambda _, all_: _pickles_among(all_))
    written = {str(path): _write(target, path, tensors) for path, tensors in read.items()}
    if to is None:
        for path in found:  # only now, when every file has been written
            path.unlink()
    if as_json:
        output.as_json({"path": str(target.absolute()), "converted": written})
    else:
        for old, new in written.items():
            output.data(f"{old} -> {new}")


def _pickles_among(names: list[str]) -> set[str]:
    return {name for name in names if name.endswith(PICKLES)}


def _read(path: Path) -> dict[str, Any]:
    try:
        import torch  # noqa: PLC0415  (seconds, and only this command needs it)
    except ImportError as error:
        raise Failure("converting needs torch", hint="pip install 'hubctl[runtime]'") from error
    try:
        with warnings.catch_warnings(action="ignore"):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the reader lets out whatever a hostile or broken file makes it do
        # Its own words are left out: they suggest to read the file in the mode that runs programs.
        raise Failure(
            f"{path} cannot be read as plain tensors ({type(error).__name__})",
            hint="it is damaged, or holds more than tensors; ask its author for safetensors",
        ) from error
    if not isinstance(state, dict) or not all(torch.is_tensor(t) for t in state.values()):
        raise Failure(f"{path} holds something other than named tensors")
    # safetensors refuses tensors that share memory or are not laid out in order.
    return {str(name): tensor.detach().clone().contiguous() for name, tensor in state.items()}


def _write(target: Path, path: Path, tensors: dict[str, Any]) -> str:
    from safetensors.torch import save_file  # noqa: PLC0415

    new = path.with_name(NEW_NAMES.get(path.name, path.stem + ".safetensors"))
    draft = target / new.with_name(f".{new.name}.part")
    save_file(tensors, draft, metadata={"format": "pt"})
    draft.rename(target / new)
    return str(new)
