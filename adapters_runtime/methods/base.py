"""What a method must answer. Points know methods through these classes only.

A method is numerics: it knows tensors, and no architecture, no composition and no file. Shapes are
written (batch, length, width); a leading `...` stands for any number of dimensions.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol, Self

from torch import Tensor, nn

from adapters_runtime.configs import AdapterConfig


class Host(Protocol):
    """The frozen map of an adapter: its tensors are read only by methods that need them."""

    def weight(self) -> Tensor:
        """Return W, (out, in); raises UnreadableWeight when it is quantised."""

    def bias(self) -> Tensor | None:
        """Return b, (out)."""


class LinearMethod(nn.Module, ABC):
    """An adapter of one linear map, y = x Wᵀ + b, or of several that share their input."""

    adds = True
    """Whether it adds an update to y, and does not multiply y itself."""

    @abstractmethod
    def adapt(self, x: Tensor, y: Tensor, host: Host) -> Tensor:
        """Return the adapted output, given the map's input and its plain output.

        x is (..., in); y and the result are (..., out).
        """

    def adapt_in_place(self, x: Tensor, parts: Sequence[Tensor]) -> bool:
        """Change y itself as `adapt` would, given the parts of it that are adapted.

        The parts are views, (..., width of the part). Return False, having changed nothing, when
        the method cannot do that.
        """
        return False

    @abstractmethod
    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return new (weight, bias) whose plain output equals `adapt` in evaluation mode.

        The arguments are not changed. Raises MergeStateError when no fixed weights can do that.
        """

    def low_rank(self) -> tuple[Tensor, Tensor] | None:
        """Return D (k, in) and U (out, k) if `adapt` gives y + x Dᵀ Uᵀ and no more, else None."""
        return None

    def rescaling(self) -> Tensor | None:
        """Return l (out) if `adapt` gives l ⊙ y and no more, else None."""
        return None

    def gates(self, x: Tensor) -> Tensor | None:
        """Return the gates of the update, (batch, 1, parts), or None for a method without."""
        return None


class Rescaling(nn.Module, ABC):
    """Something that rescales the output features of a map that an adapter has changed."""

    @abstractmethod
    def factor(self, weight: Tensor, delta: Tensor) -> Tensor:
        """Return the factors, (out,), given the weight and its update, both (out, in)."""


class StreamMethod(nn.Module, ABC):
    """A bijection of the hidden stream: forward after the embeddings, inverse before an LM head."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """X and the result are (batch, length, width)."""

    @abstractmethod
    def inverse(self, y: Tensor) -> Tensor:
        """Return x such that `forward(x)` is y."""


class Sharing(nn.Module, ABC):
    """A module that has some tensors in common with its fellows: those of one adapter, everywhere.

    They are in a module of their own, which belongs to none of the fellows.
    """

    config: AdapterConfig
    _shared: tuple[nn.Module, ...] = ()
    """The module with the common tensors: in a tuple, or torch would take it for a child."""

    @property
    def shared(self) -> tuple[nn.Module, ...]:
        return self._shared

    @classmethod
    @abstractmethod
    def build_shared(cls, fellows: Sequence[Self]) -> nn.Module | None:
        """Return what the fellows have in common; None when their configuration shares nothing."""

    @abstractmethod
    def use_shared(self, shared: nn.Module) -> None:
        """Read the common tensors from `shared`, without taking it for a part of oneself."""


def tensors_behind(module: nn.Module) -> list[Tensor]:
    """Return all tensors that a module computes with, shared ones too."""
    fellows = (part for part in module.modules() if isinstance(part, Sharing))
    modules = (module, *(shared for fellow in fellows for shared in fellow.shared))
    return [tensor for part in modules for tensor in (*part.parameters(), *part.buffers())]
