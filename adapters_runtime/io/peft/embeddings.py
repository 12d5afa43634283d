"""Token embeddings that a PEFT checkpoint brings whole: of a model to which tokens were added."""

from torch import Tensor, nn

from adapters_runtime.errors import ConfigError
from adapters_runtime.io.peft.checkpoint import Checkpoint


def take_embeddings(
    checkpoint: Checkpoint, left: dict[str, Tensor]
) -> dict[str, dict[str, Tensor]]:
    """Take the input and the output embedding out of `left`: module -> its tensors.

    PEFT writes them into the model, and so into all modules that have the weight in common. Raises
    ConfigError when the model has another number of tokens.
    """
    found: dict[str, dict[str, Tensor]] = {}
    for end in checkpoint.token_embeddings:
        weight = getattr(end, "weight", None)
        if weight is None:
            continue
        names = checkpoint.holders(weight)
        given = next((left[f"{name}.weight"] for name in names if f"{name}.weight" in left), None)
        if given is None:
            continue
        if len(given) != len(weight):
            raise ConfigError(
                f"{checkpoint.source} brings embeddings of {len(given)} tokens, and the model has "
                f"{len(weight)}; call model.resize_token_embeddings({len(given)}) first"
            )
        for name in names:
            found[name] = _tensors(checkpoint.modules[name], name, left) | {"weight": given}
    for name, tensors in found.items():
        for key in tensors:
            left.pop(f"{name}.{key}", None)
    return found


def _tensors(module: nn.Module, name: str, left: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a module, those in `left` before its own."""
    own: dict[str, Tensor] = module.state_dict()
    return {key: left.get(f"{name}.{key}", tensor) for key, tensor in own.items()}
