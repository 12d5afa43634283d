"""How a model with adapters generates, and how it is trained with checkpoints."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from adapters_runtime.composition import Child
from adapters_runtime.context import Activation, Override, current_override, swap_override
from adapters_runtime.errors import InvalidComposition
from adapters_runtime.inject.bank import bank_of
from adapters_runtime.inject.checkpointing import keep_setups
from adapters_runtime.inject.entry import repeated
from adapters_runtime.inject.routing import rows_of

if TYPE_CHECKING:
    from torch import Tensor


class RunningMethods:
    """Methods of a model with adapters that stand before those of transformers."""

    def generate(
        self,
        inputs: "Tensor | None" = None,
        *args: Any,
        adapter_names: "Sequence[Child | None] | None" = None,
        **kwargs: Any,
    ) -> Any:
        """Generate as transformers does; `adapter_names` gives each row a set-up of its own.

        Under `Parallel` the rows are repeated before the first token, so that the texts of the
        first adapter come first, then those of the second. Raises InvalidComposition for a cache
        from before.
        """
        if not hasattr(super(), "generate"):
            raise TypeError(
                f"{type(self).__name__} gives no next token; generate with a model that has a "
                "language-modeling head"
            )
        bank = bank_of(self)  # type: ignore[arg-type]
        override = bank.activations.in_force()
        if adapter_names is not None:
            override = Override(Activation(rows_of(adapter_names, bank)), override.head_setup)
        elif (copies := bank.activations.copies()) > 1:
            if kwargs.get("past_key_values") is not None:
                raise InvalidComposition(
                    f"{override.activation.setup} repeats the batch, which a cache from before has "  # type: ignore[union-attr]
                    "not been; generate without past_key_values, or with one adapter at a time"
                )
            (inputs, *rest), kwargs = repeated((inputs, *args), kwargs, copies)
            args = tuple(rest)
            override = Override(override.activation, override.head_setup, copied=True)
        else:
            override = current_override()  # type: ignore[assignment]
        former = swap_override(override)
        try:
            return super().generate(inputs, *args, **kwargs)  # type: ignore[misc]
        finally:
            swap_override(former)

    def _set_gradient_checkpointing(self, enable: bool = True, *args: Any, **kwargs: Any) -> None:
        super()._set_gradient_checkpointing(enable, *args, **kwargs)  # type: ignore[misc]
        keep_setups(self, bank_of(self))  # type: ignore[arg-type]
        # Reentrant checkpoints give no gradient unless what enters the first layer asks for one,
        # and the embeddings are frozen. Transformers sees to it for models that read tokens.
        if self.main_input_name != "input_ids":  # type: ignore[attr-defined]
            self._ask_for_gradients(ask=enable)

    def _ask_for_gradients(self, *, ask: bool) -> None:
        if getattr(self, "_require_grads_hooks", None):
            self.disable_input_require_grads()  # type: ignore[attr-defined]
        if ask:
            self.enable_input_require_grads()  # type: ignore[attr-defined]
