"""What all configurations share: a configuration is a mapping that never changes and knows JSON.

Two configurations are equal when their content is: one read from a file equals the preset it was
made from, though the file does not say which preset that was.
"""

import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform, get_type_hints

from adapters_runtime.configs.checking import describe, fits
from adapters_runtime.errors import ConfigError

_Config = TypeVar("_Config", bound="type[AdapterConfig]")

CLASSES: dict[str | None, "type[AdapterConfig]"] = {}
"""Which class reads a document, by its field `architecture`; bottlenecks have none."""

READERS: "list[Callable[[Any], AdapterConfig]]" = []
"""What reads names, expressions and paths. `parsing` adds itself: it stands on all the classes."""

ACTIVATIONS = frozenset(
    {"gelu", "gelu_10", "gelu_accurate", "gelu_fast", "gelu_new", "gelu_python", "gelu_python_tanh"}
    | {"gelu_pytorch_tanh", "laplace", "leaky_relu", "leakyrelu", "linear", "mish", "prelu"}
    | {"quick_gelu", "relu", "relu2", "relu6", "sigmoid", "silu", "swish", "tanh"}
)
"""Names of activation functions, in lower case: those of transformers, and `leakyrelu`."""


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(field,))
def configuration(cls: _Config) -> _Config:
    """Make a dataclass of the class, which keeps the equality and the short repr of the base."""
    return dataclass(frozen=True, eq=False, repr=False)(cls)  # type: ignore[return-value]


class AdapterConfig(Mapping[str, Any]):
    """Base of every configuration. Calling it builds a bottleneck, as it did before 2023."""

    architecture: ClassVar[str | None]
    """The value of the field `architecture` in the file."""

    def __init_subclass__(cls, *, of_adapter: bool = True, **options: Any) -> None:
        """Let the class read the documents of its architecture, unless they are of no adapter."""
        super().__init_subclass__(**options)
        if of_adapter and "architecture" in vars(cls):
            CLASSES[cls.architecture] = cls

    def __new__(cls, *_args: Any, **_fields: Any) -> Self:
        if cls is not AdapterConfig:
            return super().__new__(cls)
        warnings.warn(
            "AdapterConfig(...) is deprecated: to build a bottleneck, write BnConfig(...)",
            FutureWarning,
            stacklevel=2,
        )
        # Python goes on to call __init__ of the class of what is returned here.
        return super().__new__(CLASSES[None])  # type: ignore[return-value]

    def __post_init__(self) -> None:
        hints = _hints(type(self))
        for spec in self._fields():
            value = _plain(getattr(self, spec.name))
            object.__setattr__(self, spec.name, value)
            if not fits(value, hints[spec.name]):
                raise ConfigError(
                    f"{spec.name} of {type(self).__name__} must be "
                    f"{describe(hints[spec.name])}, not {value!r}"
                )
        self.check()

    def check(self) -> None:
        """Raise ConfigError when the values of the fields cannot work together."""

    @abstractmethod
    def places(self) -> frozenset[str]:
        """Return where in a layer, or in the model, this configuration puts something.

        Two configurations that share a place and a layer cannot be in one union. The words are
        those of `points` in a signature: see `adapters_runtime.configs.signature`.
        """

    @abstractmethod
    def layers_within(self, count: int) -> tuple[int, ...]:
        """Return the layers that this configuration touches in a model with `count` layers."""

    @classmethod
    def load(cls, config: Any, **overrides: Any) -> "AdapterConfig":
        """Return what a name, an expression, a path or a document stands for, with overrides.

        Overrides that are None are ignored: command-line flags that were not given come as None.
        """
        given = {name: value for name, value in overrides.items() if value is not None}
        loaded = READERS[-1](config)
        return loaded.replace(**given) if given else loaded

    @classmethod
    def from_dict(cls, data: "Mapping[str, Any] | AdapterConfig") -> "AdapterConfig":
        """Read a document; fields it does not have get their defaults.

        Called on `AdapterConfig`, the document's `architecture` decides on the class. Raises
        ConfigError for unknown fields, missing ones without a default, and wrong values.
        """
        if isinstance(data, AdapterConfig):
            return data
        if not isinstance(data, Mapping):
            raise ConfigError(f"a configuration is an object with fields, not {data!r}")
        target = _class_for(data.get("architecture")) if cls is AdapterConfig else cls
        return target.build(data)

    @classmethod
    def build(cls, data: Mapping[str, Any]) -> "AdapterConfig":
        """Read a document as this class; what `from_dict` does once it knows the class."""
        values = {name: value for name, value in data.items() if name != "architecture"}
        known = {spec.name: spec for spec in cls._fields()}
        if unknown := sorted(set(values) - set(known), key=str):
            raise ConfigError(
                f"{cls.__name__} has no field {', '.join(map(repr, unknown))} "
                f"(it has: {', '.join(known)})"
            )
        missing = [name for name in known if name not in values and _required(known[name])]
        if missing:
            raise ConfigError(f"{cls.__name__} needs a value for {', '.join(missing)}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON knows them, in the order of declaration."""
        head = {} if self.architecture is None else {"architecture": self.architecture}
        return head | {spec.name: _as_json(getattr(self, spec.name)) for spec in self._fields()}

    def replace(self, **changes: Any) -> Self:
        """Return a copy with other values in some fields."""
        return type(self).build(self.to_dict() | changes)  # type: ignore[return-value]

    @classmethod
    def _fields(cls) -> tuple[Field[Any], ...]:
        return fields(cls)  # type: ignore[arg-type]

    def __getitem__(self, name: str) -> Any:
        if name == "architecture" or name in self.__dict__:
            return getattr(self, name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.to_dict())

    def __len__(self) -> int:
        return len(self.to_dict())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AdapterConfig) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(_hashable(self.to_dict()))

    def __repr__(self) -> str:
        changed = [
            f"{spec.name}={value!r}"
            for spec in self._fields()
            if (value := getattr(self, spec.name)) != _default(spec)
        ]
        return f"{type(self).__name__}({', '.join(changed)})"


class LayeredConfig(AdapterConfig):
    """A configuration that stands in every layer but those left out."""

    leave_out: tuple[int, ...]

    def layers_within(self, count: int) -> tuple[int, ...]:
        return tuple(layer for layer in range(count) if layer not in self.leave_out)


def check_activation(name: str, *, of: str) -> None:
    if name.lower() not in ACTIVATIONS:
        raise ConfigError(
            f"{of}: no activation function is called {name!r} "
            f"(there are: {', '.join(sorted(ACTIVATIONS))})"
        )


def check_probability(value: float, *, of: str) -> None:
    if not 0.0 <= value < 1.0:
        raise ConfigError(f"{of} is a probability below 1, not {value}")


def check_positive(value: float, *, of: str) -> None:
    if not value > 0:
        raise ConfigError(f"{of} must be above 0, not {value}")


def check_ratio(value: float, *, of: str) -> None:
    """Refuse what no width can be divided by and give a number of features."""
    if not 1e-3 <= value <= 1e6:
        raise ConfigError(f"{of} must lie between 0.001 and 1,000,000, not be {value}")


def check_layers(layers: tuple[int, ...], *, of: str) -> None:
    if any(layer < 0 for layer in layers):
        raise ConfigError(f"{of} holds numbers of layers, which start at 0, not {list(layers)}")


def _class_for(architecture: Any) -> type[AdapterConfig]:
    if isinstance(architecture, str | None) and architecture in CLASSES:
        return CLASSES[architecture]
    known = ", ".join(sorted(name for name in CLASSES if name))
    raise ConfigError(
        f"no method is called {architecture!r} (there are: {known}; bottlenecks have none)"
    )


@cache
def _hints(cls: type[AdapterConfig]) -> dict[str, Any]:
    return get_type_hints(cls)


def _plain(value: Any) -> Any:
    """Make lists into tuples, and keys of layer maps into the strings that JSON gives back."""
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, Mapping) and not isinstance(value, AdapterConfig):
        return {str(key): _plain(item) for key, item in value.items()}
    return value


def _as_json(value: Any) -> Any:
    if isinstance(value, AdapterConfig):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_as_json(item) for item in value]
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    return value


def _hashable(value: Any) -> Any:
    """Keep what equality sees: 16 equals 16.0, so their text would not do."""
    if isinstance(value, dict):
        return frozenset((key, _hashable(item)) for key, item in value.items())
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def _default(spec: Field[Any]) -> Any:
    return spec.default if spec.default is not MISSING else MISSING


def _required(spec: Field[Any]) -> bool:
    return spec.default is MISSING and spec.default_factory is MISSING
