"""Whole token embeddings beside the base's own: another table, for the same or another vocabulary.

The active table is used where tokens are looked up, and where the stream is projected to the
vocabulary by a module that is tied to the base's embedding. The base's own table stays as it is.
A head may bring a table too (see `FlexibleHeads.active_table`); one that is set goes before it.

Hooks are registered with the first table, and removed with the last one.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from adapters_runtime.configs import AdapterConfig
from adapters_runtime.context import Activations
from adapters_runtime.errors import ConfigError, EmbeddingsExist, EmbeddingsNotLoaded
from adapters_runtime.inject.cell import Cell
from adapters_runtime.inject.named import NamedModules
from adapters_runtime.inject.point import Hook, Outside, Point

OWN = "default"
"""How the base's own table is called."""


class Table(nn.Module):
    """The weight of one embedding, (vocabulary, width)."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)


class TokenTables(Point):
    """The tables of a model, and which of them is active. No adapter stands here."""

    def __init__(self, activations: Activations, lookups: Sequence[nn.Module]) -> None:
        """`lookups` are the modules that look tokens up in the base's one table, if it has any."""
        super().__init__("", None, activations)
        self.tables = NamedModules()
        self.in_use = OWN
        self.origins: dict[str, dict[str, Any]] = {}
        """Name of a table -> `ref` and `content` of the published version that it is."""
        self.lookups = [Outside(module) for module in lookups]
        self.owner: Outside | None = None
        """The model whose active head may bring a table."""
        for module in lookups:
            ids = Cell()
            # First, so that own rows of an adapter go before a table.
            self.add_hook(Hook(Outside(module), RememberIds(self, ids), pre=True, first=True))
            self.add_hook(Hook(Outside(module), LookUp(self, ids), first=True))

    def build(self, config: AdapterConfig) -> nn.Module | None:
        return None

    def remove(self, name: str) -> None:
        """Do nothing: an adapter that goes takes no table with it."""

    def __contains__(self, name: str) -> bool:
        return name == OWN or name in self.tables

    def __getitem__(self, name: str) -> nn.Parameter:
        """Return a table by its name; raises EmbeddingsNotLoaded."""
        if name not in self:
            raise EmbeddingsNotLoaded(name, (OWN, *self.tables))
        found = self.base_table if name == OWN else self.tables[name].weight
        assert isinstance(found, nn.Parameter)
        return found

    @property
    def base_table(self) -> nn.Parameter:
        if not self.lookups:
            raise ConfigError("this model reads no tokens, so it has no embedding to replace")
        weight: nn.Parameter = self.lookups[0].module.weight  # type: ignore[assignment]
        return weight

    def add_table(self, name: str, weight: Tensor, *, overwrite_ok: bool = False) -> None:
        """Add a table, not active; raises EmbeddingsExist, and ConfigError for another width."""
        if name in self and not (overwrite_ok and name != OWN):
            raise EmbeddingsExist(name)
        own = self.base_table
        if weight.dim() != 2 or weight.shape[1] != own.shape[1]:
            raise ConfigError(
                f"embeddings {name!r} are {tuple(weight.shape)}, but the base model needs vectors "
                f"of width {own.shape[1]}"
            )
        self.tables[name] = Table(weight.detach().to(own.device, own.dtype).clone())
        self.attach()

    def use(self, name: str) -> None:
        """Make a table the active one; raises EmbeddingsNotLoaded."""
        self[name]
        self.in_use = name

    def origin(self) -> dict[str, Any] | None:
        """Return which published version the active table is; None where it is the base's own."""
        unknown = {"ref": None, "content": None}
        return None if self.in_use == OWN else self.origins.get(self.in_use, unknown)

    def delete_table(self, name: str) -> None:
        """Remove a table; if it is active the base's own takes its place."""
        if name == OWN:
            raise ConfigError("the base model's own embeddings cannot be deleted")
        self[name]
        if self.in_use == name:
            self.in_use = OWN
        del self.tables[name]
        self.origins.pop(name, None)
        if not self.tables and self.owner is None:
            self.detach()

    def freeze(self) -> None:
        """Freeze all tables but the base's own."""
        for parameter in self.tables.parameters():
            parameter.requires_grad_(False)

    def ask(self, owner: nn.Module) -> None:
        """Use the table that the active head of this model brings, if it does."""
        self.owner = Outside(owner)
        self.attach()

    def end_at(self, output_embedding: nn.Module) -> None:
        """Project with the active table in this module, if it is tied to the base's."""
        if self.lookups and output_embedding.weight is self.base_table:
            self.add_hook(Hook(Outside(output_embedding), Project(self), first=True))

    def input_table(self) -> Tensor | None:
        """Return the table to look tokens up in; None stands for the base's own."""
        if self.in_use != OWN:
            return self[self.in_use]
        return None if self.owner is None else self.owner.module.active_table()  # type: ignore[operator]

    def output_table(self) -> Tensor | None:
        """Return the table that projects in the place of the base's."""
        return None if self.in_use == OWN else self[self.in_use]


class RememberIds:
    """Pre-hook on a lookup: gives the base only ids that its table has."""

    def __init__(self, tables: TokenTables, ids: Cell) -> None:
        self.tables = tables
        self.ids = ids

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if self.tables.input_table() is None:
            return None
        (ids,) = args or tuple(kwargs.values())
        self.ids.put(ids)
        rows = module.weight.shape[0]  # type: ignore[index]
        return (ids.clamp(max=rows - 1),), {}


class LookUp:
    """Hook on a lookup: answers from the active table."""

    def __init__(self, tables: TokenTables, ids: Cell) -> None:
        self.tables = tables
        self.ids = ids

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
        table, ids = self.tables.input_table(), self.ids.take()
        if table is None or ids is None:
            return None
        # Some models (Gemma, PLBART) put a factor on what they look up.
        return F.embedding(ids, table) * getattr(module, "embed_scale", 1.0)


class Project:
    """Hook on a tied output embedding. A bias belongs to the base's vocabulary, so another number
    of tokens goes without.
    """

    def __init__(self, tables: TokenTables) -> None:
        self.tables = tables

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
        table = self.tables.output_table()
        if table is None:
            return None
        bias = getattr(module, "bias", None)
        fits = isinstance(bias, Tensor) and len(bias) == len(table)
        return F.linear(args[0], table, bias if fits else None)
