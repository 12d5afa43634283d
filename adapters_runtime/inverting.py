"""Methods for the invertible parts of adapters: forward after the embeddings, and back."""

from torch import Tensor, nn

from adapters_runtime.configs import parts_of
from adapters_runtime.errors import ConfigError
from adapters_runtime.inject.bank import bank_of
from adapters_runtime.inject.named import NamedModules
from adapters_runtime.inject.stream_point import InvertiblePoint, StreamState


class InvertingMethods:
    """`add_adapter` and `delete_adapter` see to invertible parts; these are for those alone."""

    @property
    def invertible_adapters(self) -> NamedModules:
        """The invertible modules by the names of their adapters."""
        return self._stream().adapters

    def get_invertible_adapter(self) -> nn.Module | None:
        """Return the invertible module that the set-up in force meets first, if there is one."""
        point = self._stream()
        setup = point.active()
        if setup is None or setup.first() not in point.adapters:
            return None
        return point.adapters[setup.first()]

    def add_invertible_adapter(self, adapter_name: str) -> None:
        """Give an adapter the invertible part that its configuration names, where it has none.

        It is trained if the rest of the adapter is. Raises AdapterNotLoaded, and ConfigError when
        the configuration names none.
        """
        point = self._stream()
        bank = bank_of(self)  # type: ignore[arg-type]
        config = bank.require(adapter_name)
        if adapter_name in point.adapters:
            return
        trained = any(parameter.requires_grad for parameter in bank.parameters_of(adapter_name))
        if not any(point.add(adapter_name, part) for part in parts_of(config)):
            raise ConfigError(
                f"the configuration of {adapter_name!r} names no inv_adapter: {config!r}"
            )
        point.adapters[adapter_name].requires_grad_(trained)

    def delete_invertible_adapter(self, adapter_name: str) -> None:
        """Take the invertible part of an adapter away, and leave the rest."""
        bank_of(self).require(adapter_name)  # type: ignore[arg-type]
        self._stream().remove(adapter_name)

    def enable_invertible_adapters(self, adapter_names: list[str] | tuple[str, ...]) -> None:
        """Let the invertible parts of these adapters be trained."""
        point = self._stream()
        for name in adapter_names:
            if name in point.adapters:
                point.adapters[name].requires_grad_(True)

    def invertible_adapters_forward(self, hidden_states: Tensor, rev: bool = False) -> Tensor:
        """Return the stream, (batch, length, width), after the active parts, or before (`rev`)."""
        point = self._stream()
        return (point.end if rev else point.begin).run(StreamState(hidden_states))

    def _stream(self) -> InvertiblePoint:
        return next(bank_of(self).of_type(InvertiblePoint))  # type: ignore[arg-type]
