"""Adapters of the hidden stream itself: invertible ones, and own rows of the token embedding.

Both act where the stream begins (after the embeddings) and where it ends (at the output embedding):
the invertible part is undone there, and the tied rows are used. Of a Stack only the first block
counts, for the stream begins once; of a Fuse too, whose mixture is one of bottlenecks.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from adapters_runtime.composition import (
    AdapterCompositionBlock,
    Fuse,
    Stack,
)
from adapters_runtime.configs import AdapterConfig, BnConfig, EmbeddingRowsConfig
from adapters_runtime.context import Activations
from adapters_runtime.errors import ConfigError
from adapters_runtime.inject.evaluation import Place, evaluate
from adapters_runtime.inject.point import Hook, Outside, Point
from adapters_runtime.meaning import BLOCKS
from adapters_runtime.methods.base import StreamMethod
from adapters_runtime.methods.embedding_rows import EmbeddingRows
from adapters_runtime.methods.glow import GLOW
from adapters_runtime.methods.invertible import NICE


def stream_setup(block: AdapterCompositionBlock | str) -> AdapterCompositionBlock | str:
    """Return the part of a set-up that meets the stream where it begins."""
    if isinstance(block, str):
        return block
    if isinstance(block, Stack | Fuse):
        return stream_setup(block[0])
    return block.mapped(stream_setup)


class StreamState(NamedTuple):
    """The stream, and what its adapter reads beside it; all share the rows of the batch."""

    stream: Tensor
    beside: Tensor | None = None


class StreamPlace(Place[StreamState]):
    """One end of the stream: `act` is what an adapter does there."""

    blocks = BLOCKS["stream"]

    def __init__(
        self, point: Point, act: Callable[[Any, StreamState], Tensor], method: str
    ) -> None:
        self.point = point
        self.act = act
        self.method = method

    def run(self, state: StreamState) -> Tensor:
        setup = self.point.active()
        if setup is None:
            return state.stream
        return evaluate(self, stream_setup(setup), state).stream

    def holds(self, name: str) -> bool:
        return name in self.point.adapters

    def leaf(self, name: str, state: StreamState) -> StreamState:
        return state._replace(stream=self.act(self.point.adapters[name], state))

    def size(self, state: StreamState, dim: int) -> int:
        return state.stream.shape[dim]

    def cut(self, state: StreamState, dim: int, start: int, stop: int) -> StreamState:
        stream, beside = state
        if beside is not None:
            beside = beside.narrow(dim, start, stop - start)
        return StreamState(stream.narrow(dim, start, stop - start), beside)

    def join(self, states: Sequence[StreamState], dim: int) -> StreamState:
        return StreamState(torch.cat([state.stream for state in states], dim))

    def mean(self, states: Sequence[StreamState], weights: Sequence[float]) -> StreamState:
        parts = [weight * state.stream for weight, state in zip(weights, states, strict=True)]
        return StreamState(torch.stack(parts).sum(dim=0), states[0].beside)


class InvertiblePoint(Point):
    """Forward after the embeddings, inverse before the output embedding."""

    container = "invertible_adapters"

    def __init__(
        self,
        path: str,
        activations: Activations,
        embeddings: nn.Module,
        lookups: Sequence[nn.Module],
        width: int,
        *,
        unscaled: bool,
    ) -> None:
        """`lookups` find the tokens' vectors, and `embeddings` is the last module they go through.

        `unscaled`: act on what `embeddings` has looked up, before it multiplies by its scale.
        """
        super().__init__(path, None, activations)
        self.width = width
        self.embeddings = Outside(embeddings)
        self.lookups = [Outside(module) for module in lookups]
        self.unscaled = unscaled
        self.begin = StreamPlace(self, self._transform, "an invertible adapter")
        self.end = StreamPlace(self, _invert, "an invertible adapter")
        self.hooks = [Hook(self.embeddings, TransformOutput(self.begin))]

    def build(self, config: AdapterConfig) -> nn.Module | None:
        if not isinstance(config, BnConfig) or not config.inv_adapter:
            return None
        factor = config.inv_adapter_reduction_factor or 2
        method = {"nice": NICE, "glow": GLOW}[config.inv_adapter]
        return method(self.width, factor, config.non_linearity)

    def parameters_near(self) -> Iterator[tuple[nn.Module, nn.Parameter]]:
        yield from super().parameters_near()
        # The embeddings may end in a dropout, which has no parameter of its own.
        for lookup in self.lookups:
            yield from ((lookup.module, p) for p in lookup.module.parameters())

    def _transform(self, adapter: StreamMethod, state: StreamState) -> Tensor:
        scale = getattr(self.embeddings.module, "embed_scale", None) if self.unscaled else None
        if scale is None:
            return adapter(state.stream)  # type: ignore[no-any-return]  # nn.Module calls are untyped
        return adapter(state.stream / scale) * scale  # type: ignore[no-any-return]

    def end_at(self, output_embedding: nn.Module) -> None:
        """Undo the transformation before this module, which projects to the vocabulary."""
        self.add_hook(Hook(Outside(output_embedding), InvertInput(self.end), pre=True))


class RowsPoint(Point):
    """Rows of the token embedding, and of the output embedding where the two are tied."""

    container = "embedding_rows"

    def __init__(self, activations: Activations, embeddings: Sequence[nn.Module]) -> None:
        """`embeddings` look up tokens in one shared table."""
        super().__init__("", None, activations)
        self.embedding = Outside(embeddings[0])
        begin = StreamPlace(self, self._embed, "own embedding rows")
        self.hooks = [Hook(Outside(module), EmbedTokens(begin)) for module in embeddings]

    def build(self, config: AdapterConfig) -> nn.Module | None:
        if not isinstance(config, EmbeddingRowsConfig):
            return None
        weight = self._table()
        if max(config.token_ids) >= len(weight):
            raise ConfigError(
                f"token id {max(config.token_ids)} is outside the vocabulary of {len(weight)}"
            )
        return EmbeddingRows(config.token_ids, weight)

    def end_at(self, output_embedding: nn.Module) -> None:
        """Use the rows in this module's logits, if it is tied to the token embedding."""
        if output_embedding.weight is self._table():
            self.add_hook(Hook(Outside(output_embedding), ProjectTokens(self)))

    def _embed(self, rows: EmbeddingRows, state: StreamState) -> Tensor:
        assert state.beside is not None
        scale = getattr(self.embedding.module, "embed_scale", 1.0)
        return rows.embed(state.beside, state.stream, scale)

    def _table(self) -> nn.Parameter:
        weight: nn.Parameter = self.embedding.module.weight  # type: ignore[assignment]
        return weight


def _invert(adapter: StreamMethod, state: StreamState) -> Tensor:
    return adapter.inverse(state.stream)


class TransformOutput:
    """Hook on the module whose output enters the layers."""

    def __init__(self, place: StreamPlace) -> None:
        self.place = place

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if isinstance(output, tuple):
            return (self.place.run(StreamState(output[0])), *output[1:])
        return self.place.run(StreamState(output))


class InvertInput:
    """Pre-hook on the output embedding."""

    def __init__(self, place: StreamPlace) -> None:
        self.place = place

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (self.place.run(StreamState(args[0])), *args[1:]), kwargs


class EmbedTokens:
    """Hook on the token embedding, which maps ids to vectors."""

    def __init__(self, place: StreamPlace) -> None:
        self.place = place

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        return self.place.run(StreamState(output, args[0]))


class ProjectTokens:
    """Hook on the output embedding, which maps vectors to logits."""

    def __init__(self, point: RowsPoint) -> None:
        self.point = point

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        bias = getattr(module, "bias", None)
        place = StreamPlace(
            self.point,
            lambda rows, state: rows.project(state.beside, state.stream, bias),
            "own embedding rows",
        )
        return place.run(StreamState(output, args[0]))
