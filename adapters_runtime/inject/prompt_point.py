"""Prompts among the embeddings, and what a longer text needs beside them: mask and positions.

AdapterHub's encoders insert them after all that their embeddings do: prompts have no position, and
their tokens keep theirs. Elsewhere they stand before that ("inputs"), as if they were text: the
model is given embeddings in the place of token ids.

The same composition decides on prompts, mask and positions. So each of them is a sequence to insert
into, and one evaluation serves all.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adapters_runtime.configs import AdapterConfig, PeftPromptConfig, PromptTuningConfig
from adapters_runtime.context import Activations
from adapters_runtime.errors import InvalidComposition
from adapters_runtime.inject.arguments import Arguments, Names, cache_of, mask_of, text_of
from adapters_runtime.inject.cell import Cell
from adapters_runtime.inject.evaluation import Place, evaluate
from adapters_runtime.inject.point import Attachment, Hook, Outside, Point
from adapters_runtime.meaning import BLOCKS
from adapters_runtime.methods.prompt_tuning import PromptTuning


class PromptPoint(Point):
    """The place before the first layer; its hooks are those of one of the functions below."""

    container = "prompt_tunings"

    def __init__(
        self, activations: Activations, width: int, *, has_mask: bool, fill_before: bool
    ) -> None:
        """`fill_before` says on which side rows with shorter prompts are filled up.

        A decoder continues the end of the text; an encoder's heads look at its beginning.
        """
        super().__init__("prompt_tuning", None, activations)
        self.width = width
        self.has_mask = has_mask
        self.fill_before = fill_before
        self.ids = Cell()
        """Longer ids that a head has been given, and those of the text."""

    def build(self, config: AdapterConfig) -> nn.Module | None:
        return PromptTuning(config, self.width) if isinstance(config, PromptTuningConfig) else None

    def prompts(self, embedded: Tensor) -> Tensor:
        """Insert the active prompts into (rows, tokens, width)."""
        return self._insert(embedded, _prompt)[0]

    def mask(self, mask: Tensor) -> tuple[Tensor, bool]:
        """Insert ones into a mask, (rows, tokens); also return whether rows had to be filled up."""
        return self._insert(mask, _ones)

    def zeros(self, types: Tensor) -> Tensor:
        """Insert zeros into token types, (rows, tokens)."""
        return self._insert(types, _zeros)[0]

    def longest(self) -> int:
        """Return a length that active prompts do not exceed, 0 when there are none."""
        setup = self.active()
        names = () if setup is None else setup.flatten()
        return sum(len(_of(self.adapters[name]).prompt) for name in names if name in self.adapters)

    def be_read_by(self, model: nn.Module) -> None:
        """Lengthen the ids that a head sees, if it looks for the last token among them."""
        if self.fill_before and type(model).__name__.endswith("ForSequenceClassification"):
            self.add_hook(Hook(Outside(model), LengthenIds(self, model), pre=True))

    def lengthened(self, ids: Tensor, token: int) -> Tensor:
        """Insert a token that is no padding into (rows, tokens), for each place of a prompt."""
        return self._insert(ids, partial(_tokens, token=token))[0]

    def _insert(
        self, tokens: Tensor, what: "Callable[[PromptTuning], Tensor]"
    ) -> tuple[Tensor, bool]:
        setup = self.active()
        assert setup is not None
        place = PromptPlace(self, what)
        return evaluate(place, setup, tokens), place.filled


class InputPromptPoint(PromptPoint):
    """The place before the embeddings, for prompts that take part in all that embeddings do."""

    def build(self, config: AdapterConfig) -> nn.Module | None:
        if not isinstance(config, PeftPromptConfig):
            return None
        return PromptTuning(PromptTuningConfig(prompt_length=config.prompt_length), self.width)

    def lengthened(self, ids: Tensor, token: int) -> Tensor:
        # PEFT gives embeddings to the model, whose head then takes the last place, padded or not.
        return torch.full_like(super().lengthened(ids, token), token)


def _of(adapter: nn.Module) -> PromptTuning:
    assert isinstance(adapter, PromptTuning)
    return adapter


def _prompt(adapter: PromptTuning) -> Tensor:
    return adapter.prompt


def _ones(adapter: PromptTuning) -> Tensor:
    return torch.ones_like(adapter.prompt[:, 0])


def _zeros(adapter: PromptTuning) -> Tensor:
    return torch.zeros_like(adapter.prompt[:, 0])


def _tokens(adapter: PromptTuning, token: int) -> Tensor:
    return torch.full_like(adapter.prompt[:, 0], token)


class PromptPlace(Place[Tensor]):
    """`what` an adapter inserts into a sequence, (rows, tokens, ...)."""

    method = "prompt tuning"
    blocks = BLOCKS["prompt_tuning"]

    def __init__(self, point: PromptPoint, what: Callable[[PromptTuning], Tensor]) -> None:
        self.point = point
        self.what = what
        self.filled = False
        """Whether rows with shorter prompts have been filled up, with zeros."""

    def holds(self, name: str) -> bool:
        return name in self.point.adapters

    def leaf(self, name: str, state: Tensor) -> Tensor:
        adapter = _of(self.point.adapters[name])
        return adapter.insert(state, self.what(adapter))

    def size(self, state: Tensor, dim: int) -> int:
        return state.shape[dim]

    def cut(self, state: Tensor, dim: int, start: int, stop: int) -> Tensor:
        return state.narrow(dim, start, stop - start)

    def join(self, states: Sequence[Tensor], dim: int) -> Tensor:
        return torch.cat([self._filled(state, states) for state in states], dim)

    def _filled(self, state: Tensor, states: Sequence[Tensor]) -> Tensor:
        missing = max(other.shape[1] for other in states) - state.shape[1]
        if not missing:
            return state
        if not self.point.has_mask:
            raise InvalidComposition(
                "this model has no mask to hide places with, so that all rows of a batch need "
                f"prompts of one length; here the lengths are {[s.shape[1] for s in states]}, "
                "tokens included"
            )
        self.filled = True
        sides = (missing, 0) if self.point.fill_before else (0, missing)
        return F.pad(state, (0, 0) * (state.dim() - 2) + sides)

    def mean(self, states: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
        lengths = [state.shape[1] for state in states]
        if len(set(lengths)) > 1:
            raise InvalidComposition(
                "Average needs prompts of one length, and here the lengths of the texts with them "
                f"are {lengths}"
            )
        if states[0].dim() == 2:
            return states[0]
        parts = [weight * state for weight, state in zip(weights, states, strict=True)]
        return torch.stack(parts).sum(dim=0)


# --- prompts behind the embeddings


def after_embeddings(
    point: PromptPoint, base: nn.Module, embeddings: nn.Module, *, see_padding: bool
) -> list[Attachment]:
    mask = Cell()
    return [
        Hook(Outside(base), ExtendMask(point, base, mask, see_padding=see_padding), pre=True),
        Hook(Outside(embeddings), KeepOwnMask(mask), pre=True),
        Hook(Outside(embeddings), InsertPrompts(point)),
    ]


class ExtendMask:
    """Pre-hook on the base model: its layers will see more places than it was given."""

    def __init__(
        self, point: PromptPoint, base: nn.Module, original: Cell, *, see_padding: bool
    ) -> None:
        self.point = point
        self.names = Names(base)
        self.original = original
        self.see_padding = see_padding

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Arguments | None:
        self.original.clear()  # a call that was refused before its embeddings has left its mask
        if self.point.active() is None:
            return None
        given = self.names.of(args, kwargs)
        inputs = text_of(given)
        if inputs is None:
            return None  # an image: there is no mask
        mask = mask_of(given.get("attention_mask"), inputs)
        self.original.put(mask)
        if self.see_padding:
            return (), {**given, "attention_mask": self._mask_of_pairs(mask)}
        return (), {**given, "attention_mask": self.point.mask(mask)[0]}

    def _mask_of_pairs(self, mask: Tensor) -> Tensor:
        """Return a mask, (rows, places, places), in which prompts see all, and all see prompts.

        It is AdapterHub's, which has prompts first, also where they stand after the first token.
        """
        mask = mask.bool()
        prompts, _ = self.point.mask(torch.zeros_like(mask))
        tokens = self.point.zeros(torch.ones_like(mask))
        visible = self.point.zeros(mask)
        first = torch.sort(prompts, dim=1, descending=True, stable=True).indices
        prompts, tokens, visible = (each.gather(1, first) for each in (prompts, tokens, visible))
        pairs = visible[:, :, None] & visible[:, None, :]
        pairs = pairs | prompts[:, :, None] | prompts[:, None, :]
        return pairs & (prompts | tokens)[:, None, :]


class KeepOwnMask:
    """Pre-hook on the embeddings: those which are masked (DeBERTa's) have no prompts yet."""

    def __init__(self, original: Cell) -> None:
        self.original = original

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Arguments | None:
        mask = self.original.take()
        return None if mask is None or "mask" not in kwargs else (args, {**kwargs, "mask": mask})


class InsertPrompts:
    """Hook on the embeddings."""

    def __init__(self, point: PromptPoint) -> None:
        self.point = point

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        return output if self.point.active() is None else self.point.prompts(output)


# --- prompts in the place of text


def as_inputs(
    point: PromptPoint, encoder: nn.Module, embedding: nn.Module, decoder: nn.Module | None
) -> list[Attachment]:
    """Return the hooks; `decoder` is that of an encoder-decoder, which reads the encoder's mask."""
    hooks: list[Attachment] = [
        Hook(Outside(encoder), EmbedInputs(point, encoder, embedding), pre=True)
    ]
    if decoder is not None:
        hooks.append(Hook(Outside(decoder), ExtendEncoderMask(point, decoder), pre=True))
    return hooks


class EmbedInputs:
    """Pre-hook on what reads text: give it embeddings with prompts in the place of token ids."""

    def __init__(self, point: PromptPoint, encoder: nn.Module, embedding: nn.Module) -> None:
        self.point = point
        self.names = Names(encoder)
        self.embedding = Outside(embedding)

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Arguments | None:
        if self.point.active() is None:
            return None
        given = self.names.of(args, kwargs)
        longer, ids = self.point.ids.take() or (None, None)
        if longer is not None and given.get("input_ids") is longer:
            given["input_ids"] = ids
        inputs = text_of(given)
        if inputs is None:
            return None
        cache = cache_of(given)
        seen = 0 if cache is None else cache.get_seq_length()
        return (), {
            **given,
            **(self._next(given, inputs, seen) if seen else self._first(given, inputs)),
        }

    def _first(self, given: dict[str, Any], inputs: Tensor) -> dict[str, Any]:
        """Return what changes in a call that begins a text."""
        mask, filled = self.point.mask(mask_of(given.get("attention_mask"), inputs))
        embedded = given.get("inputs_embeds")
        if embedded is None:
            embedded = self.embedding.module(inputs)
        changed: dict[str, Any] = {
            "inputs_embeds": self.point.prompts(embedded),
            "attention_mask": mask,
        }
        if "input_ids" in given:
            changed["input_ids"] = None
        if given.get("token_type_ids") is not None:
            changed["token_type_ids"] = self.point.zeros(given["token_type_ids"])
        if filled or given.get("position_ids") is not None:
            # As `generate` counts them: hidden places do not count.
            changed["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
        return changed

    def _next(self, given: dict[str, Any], inputs: Tensor, seen: Any) -> dict[str, Any]:
        """Return what changes in a call that goes on with a text; its cache has the prompts."""
        rows, length = inputs.shape[:2]
        ours, filled = self.point.mask(torch.ones(rows, 0, device=inputs.device))
        mask, positions = given.get("attention_mask"), given.get("position_ids")
        changed: dict[str, Any] = {}
        if mask is None and filled:
            mask = torch.ones(rows, seen + length - ours.shape[1], device=inputs.device)
        if mask is not None:
            changed["attention_mask"], _ = self.point.mask(mask)
        if positions is None and filled:
            tokens = seen - ours.shape[1] + torch.arange(length, device=inputs.device)
            positions = tokens.expand(rows, -1)
        if positions is not None:
            changed["position_ids"] = positions + ours.sum(-1, keepdim=True).to(positions.dtype)
        return changed


class LengthenIds:
    """Pre-hook on a model whose head takes the last token of each row, counted in the ids."""

    def __init__(self, point: PromptPoint, model: nn.Module) -> None:
        self.point = point
        self.names = Names(model)

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Arguments | None:
        given = self.names.of(args, kwargs)
        ids = given.get("input_ids")
        if self.point.active() is None or ids is None:
            return None
        padding = module.config.get_text_config().pad_token_id  # type: ignore[operator, union-attr]
        longer = self.point.lengthened(ids, 1 if padding == 0 else 0)
        self.point.ids.put((longer, ids))
        return (), {**given, "input_ids": longer}


class ExtendEncoderMask:
    """Pre-hook on a decoder: the encoder's result is longer than the text by its prompts."""

    def __init__(self, point: PromptPoint, decoder: nn.Module) -> None:
        self.point = point
        self.names = Names(decoder)

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Arguments | None:
        if self.point.active() is None:
            return None
        given = self.names.of(args, kwargs)
        mask, encoded = given.get("encoder_attention_mask"), given.get("encoder_hidden_states")
        if encoded is None or (mask is not None and mask.shape[1] == encoded.shape[1]):
            return None
        rows, places = encoded.shape[:2]
        ours, filled = self.point.mask(torch.ones(rows, 0, device=encoded.device))
        if mask is None and filled:
            mask = torch.ones(rows, places - ours.shape[1], device=encoded.device)
        if mask is None:
            return None
        return (), {**given, "encoder_attention_mask": self.point.mask(mask)[0]}
