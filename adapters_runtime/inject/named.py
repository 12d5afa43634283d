"""Modules under names that torch would refuse: `en/wiki@ukp`, `forward`."""

from collections.abc import Iterator
from urllib.parse import quote

from torch import nn


class NamedModules(nn.Module):
    """A dictionary of modules by any name."""

    def __init__(self) -> None:
        super().__init__()
        self._names: dict[str, str] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def __getitem__(self, name: str) -> nn.Module:
        module = self._modules[self._names[name]]
        assert module is not None
        return module

    def __setitem__(self, name: str, module: nn.Module) -> None:
        key = _key(name)
        self.add_module(key, module)
        self._names[name] = key

    def __delitem__(self, name: str) -> None:
        delattr(self, self._names.pop(name))

    def rename(self, old: str, new: str) -> None:
        module = self[old]
        del self[old]
        self[new] = module

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _key(name: str) -> str:
    # Torch joins names by dots, and refuses those that are attributes of a module. The colon makes
    # a clash impossible, the quoting keeps two names apart.
    return ":" + quote(name, safe="/@+,").replace(".", "%2E")
