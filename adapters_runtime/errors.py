"""Errors of the runtime. None needs torch, so that the registry can catch them too.

AdapterError
├── ConfigError              a configuration has an unknown field, or values that cannot work
├── InvalidComposition       a composition block may not hold what it was given
├── UnsupportedArchitecture  there is no specification for the model type
├── UnsupportedPair          a model type cannot be one half of an encoder-decoder
├── UnsupportedSite          the architecture has no place for what the configuration asks
├── UnsupportedAttention     prefixes cannot enter the attention as it is computed
├── UnreadableWeight         a method needs the numbers of a weight that is quantised or offloaded
├── UnsupportedHead          the architecture offers no prediction head of a type
├── UnsupportedComposition   a method gives no meaning to a composition block
├── AdapterNotLoaded         the model has no adapter of that name
├── AdapterExists            the model has an adapter of that name already
├── FusionNotLoaded          the model has no fusion over these adapters
├── FusionExists             the model has a fusion of that name already
├── HeadNotFound             the model has no prediction head of that name
├── HeadExists               the model has a prediction head of that name already
├── EmbeddingsNotLoaded      the model has no token embeddings of that name
├── EmbeddingsExist          the model has token embeddings of that name already
├── TensorMismatch           tensors in a file are not those that the configuration needs
├── BaseMismatch             the adapter was trained on another base model
├── MergeStateError          merging, or using, an adapter while another one is merged
├── FormatError              a file or folder is not what it should be
└── ContractError            adapters that are put together were not trained for one another
"""
# Constructors take no keyword-only arguments: errors must survive pickle to leave a worker process.

from collections.abc import Mapping, Sequence

Shape = tuple[int, ...]


class AdapterError(Exception):
    """Base of every error that this package raises on purpose."""


class ConfigError(AdapterError, ValueError):
    """A configuration has an unknown field, or values that cannot work."""


class InvalidComposition(AdapterError, ValueError):
    """A composition block may not hold what it was given."""


class UnsupportedArchitecture(AdapterError, ValueError):
    """There is no specification for the model type.

    `missed` says why none could be derived, where that was tried.
    """

    shown = 3
    """How many reasons the text gives; the attribute holds all."""

    def __init__(
        self, model_type: str, available: Sequence[str], missed: Sequence[str] = ()
    ) -> None:
        super().__init__(model_type, tuple(available), tuple(missed))
        self.model_type = model_type
        self.available = tuple(available)
        self.missed = tuple(missed)

    def __str__(self) -> str:
        reasons = "; ".join(self.missed[: self.shown])
        derived = f" None can be derived from the model: {reasons}." if reasons else ""
        return (
            f"there is no specification for model type {self.model_type!r} (there is one for: "
            f"{', '.join(self.available) or 'none'}).{derived} To add it, describe its modules "
            "with adapters_runtime.architectures.spec.Architecture, as architectures/bert.py does, "
            "and pass the specification to adapters_runtime.architectures.register: "
            "docs/adding_an_architecture.md shows how"
        )


class UnsupportedPair(UnsupportedArchitecture):
    """A model type cannot be the encoder, or the decoder, of a model made of two."""

    def __init__(self, model_type: str, role: str, reason: str) -> None:
        super().__init__(model_type, ())
        self.args = (model_type, role, reason)
        self.role = role
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"{self.model_type} cannot be the {self.role} of an encoder-decoder that has adapters: "
            f"{self.reason}"
        )


class UnsupportedSite(AdapterError, ValueError):
    """The architecture has no place for what the configuration asks."""

    def __init__(self, model_type: str, site: str, available: Sequence[str]) -> None:
        super().__init__(model_type, site, tuple(available))
        self.model_type = model_type
        self.site = site
        self.available = tuple(available)

    def __str__(self) -> str:
        known = ", ".join(self.available) or "none"
        return f"{self.model_type} has no place for {self.site!r} (it has: {known})"


class UnsupportedAttention(AdapterError, ValueError):
    """Prefixes cannot enter the attention as it is computed."""

    def __init__(self, implementation: str, available: Sequence[str]) -> None:
        super().__init__(implementation, tuple(available))
        self.implementation = implementation
        self.available = tuple(available)

    def __str__(self) -> str:
        known = ", ".join(self.available)
        return (
            f"prefix tuning cannot enter attention computed by {self.implementation!r} (it can "
            f"enter: {known}). Choose another one with model.set_attn_implementation(...), or with "
            "attn_implementation=... when the model is loaded"
        )


class UnreadableWeight(AdapterError, ValueError):
    """A method needs the numbers of a weight that is quantised or offloaded."""

    def __init__(self, module: str, purpose: str) -> None:
        super().__init__(module, purpose)
        self.module = module
        self.purpose = purpose

    def __str__(self) -> str:
        return (
            f"the weight of a {self.module} is quantised, or offloaded, and cannot be "
            f"{self.purpose}. LoRA, (IA)³ and bottlenecks run beside it as they are; to merge, or "
            "to use DoRA, load the base model in a floating type, all of it on its devices"
        )


class UnsupportedHead(AdapterError, ValueError):
    """The architecture offers no prediction head of a type."""

    def __init__(self, model_type: str, head_type: str, available: Sequence[str]) -> None:
        super().__init__(model_type, head_type, tuple(available))
        self.model_type = model_type
        self.head_type = head_type
        self.available = tuple(available)

    def __str__(self) -> str:
        known = ", ".join(self.available) or "none"
        return (
            f"{self.model_type} has no head of type {self.head_type!r} (it has: {known}); "
            "make a type of your own known with register_custom_head"
        )


class UnsupportedComposition(AdapterError, ValueError):
    """A method gives no meaning to a composition block."""

    def __init__(self, method: str, block: str, available: Sequence[str]) -> None:
        super().__init__(method, block, tuple(available))
        self.method = method
        self.block = block
        self.available = tuple(available)

    def __str__(self) -> str:
        known = ", ".join(self.available) or "a single adapter"
        return f"{self.method} cannot be put in {self.block} (it can be put in: {known})"


class _NotLoaded(AdapterError, KeyError):
    """What two lookups by name share; KeyError itself would print only the quoted name."""

    kind = ""

    def __init__(self, name: str, available: Sequence[str] = ()) -> None:
        super().__init__(name, tuple(available))
        self.name = name
        self.available = tuple(available)

    def __str__(self) -> str:
        known = ", ".join(map(repr, self.available)) or "none"
        return f"the model has no {self.kind} called {self.name!r} (it has: {known})"


class AdapterNotLoaded(_NotLoaded):
    """The model has no adapter of that name."""

    kind = "adapter"


class FusionNotLoaded(_NotLoaded):
    """The model has no fusion over these adapters."""

    kind = "adapter fusion"


class HeadNotFound(_NotLoaded):
    """The model has no prediction head of that name."""

    kind = "prediction head"


class EmbeddingsNotLoaded(_NotLoaded):
    """The model has no token embeddings of that name."""

    kind = "token embedding"


class _Exists(AdapterError, ValueError):
    """What two name clashes share."""

    kind = ""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return (
            f"the model has {self.kind} called {self.name!r} already; "
            "pass overwrite_ok=True to replace it, or choose another name"
        )


class AdapterExists(_Exists):
    """The model has an adapter of that name already."""

    kind = "an adapter"


class FusionExists(_Exists):
    """The model has a fusion of that name already."""

    kind = "an adapter fusion"


class HeadExists(_Exists):
    """The model has a prediction head of that name already."""

    kind = "a prediction head"


class EmbeddingsExist(_Exists):
    """The model has token embeddings of that name already."""

    kind = "token embeddings"

    def __str__(self) -> str:
        return (
            f"the model has token embeddings called {self.name!r} already; delete them with "
            "delete_embeddings, or choose another name"
        )


class TensorMismatch(AdapterError, ValueError):
    """Tensors in a file are not those that the configuration needs.

    `misshapen` maps a name to (the shape needed, the shape found).
    """

    shown = 5
    """How many names of each kind the text gives; the attributes hold all."""

    def __init__(
        self,
        subject: str,
        missing: Sequence[str] = (),
        unexpected: Sequence[str] = (),
        misshapen: Mapping[str, tuple[Shape, Shape]] | None = None,
    ) -> None:
        misshapen = dict(misshapen or {})
        super().__init__(subject, tuple(missing), tuple(unexpected), misshapen)
        self.subject = subject
        self.missing = tuple(missing)
        self.unexpected = tuple(unexpected)
        self.misshapen = misshapen

    def __str__(self) -> str:
        wrong = [
            f"{name} is {list(found)} and should be {list(needed)}"
            for name, (needed, found) in self.misshapen.items()
        ]
        parts = [
            self._part("missing", self.missing),
            self._part("unexpected", self.unexpected),
            self._part("of the wrong shape", wrong),
        ]
        return f"{self.subject}: " + "; ".join(part for part in parts if part)

    def _part(self, label: str, names: Sequence[str]) -> str:
        if not names:
            return ""
        rest = len(names) - self.shown
        tail = f", and {rest} more" if rest > 0 else ""
        noun = "tensor" if len(names) == 1 else "tensors"
        return f"{len(names)} {noun} {label}: {', '.join(names[: self.shown])}{tail}"


class BaseMismatch(AdapterError, ValueError):
    """The adapter was trained on another base model.

    `differences` maps what was compared (structure, body, ...) to (the adapter's, the model's).
    """

    def __init__(self, subject: str, differences: Mapping[str, tuple[str, str]]) -> None:
        super().__init__(subject, dict(differences))
        self.subject = subject
        self.differences = dict(differences)

    def __str__(self) -> str:
        lines = [
            f"{what} is {mine}, here {here}" for what, (mine, here) in self.differences.items()
        ]
        return f"{self.subject} belongs to another base model: its " + "; its ".join(lines)


class MergeStateError(AdapterError, RuntimeError):
    """Merging, or using, an adapter while another one is merged into the weights."""


class FormatError(AdapterError, ValueError):
    """A file or folder is not what it should be."""


class ContractError(AdapterError, ValueError):
    """Adapters that are put together were not trained for one another; `reasons` says why."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__(tuple(reasons))
        self.reasons = tuple(reasons)

    def __str__(self) -> str:
        return "these adapters do not fit together: " + "; ".join(self.reasons)
