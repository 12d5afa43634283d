"""The card of an adapter: a README.md that says how to load it."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from adapters_runtime.architectures import PAIR
from adapters_runtime.io.hub_files import base_name

CARD = "README.md"

_TEXT = """\
# {subject} for {base}

An adapter for `{base}`{head}. It was made with `adapters_runtime`, and AdapterHub's library \
`adapters` reads it too.

```python
{loading}
model.{loaded_by}("{repository}", set_active=True)
```
"""

_LOADING = """\
from adapters_runtime import AutoAdapterModel

model = AutoAdapterModel.from_pretrained("{base}")"""
_LOADING_A_PAIR = """\
from adapters_runtime import load_model
from transformers import EncoderDecoderModel

model = load_model("{base}", EncoderDecoderModel)"""


def write_card(
    folder: Path,
    model: Any,
    subject: str,
    *,
    repository: str,
    loaded_by: str,
    datasets: Iterable[str] = (),
    tags: Iterable[str] = (),
    language: str | None = None,
    license: str | None = None,  # noqa: A002  (the field's name in AdapterHub's library)
    metrics: Iterable[str] = (),
    architecture_training: str | None = None,
    results: str | None = None,
    citation: str | None = None,
) -> None:
    """Write README.md: front matter by which a hub finds the adapter, and how to load it."""
    named = base_name(model)
    base = named or model.config.model_type
    fields = {
        "base_model": named,
        "tags": sorted({"adapters", "adapter-transformers", model.config.model_type, *tags}),
        "datasets": list(datasets),
        "language": language,
        "license": license,
        "metrics": list(metrics),
    }
    matter = [f"{key}: {json.dumps(value)}" for key, value in fields.items() if value]
    heads = getattr(model, "heads", {})
    head = f", with a head of type {heads[subject].head_type}" if subject in heads else ""
    loading = _LOADING_A_PAIR if model.config.model_type == PAIR else _LOADING
    text = _TEXT.format(
        subject=subject,
        base=base,
        head=head,
        loading=loading.format(base=base),
        loaded_by=loaded_by,
        repository=repository,
    )
    sections = {
        "Architecture and training": architecture_training,
        "Results": results,
        "Citation": citation,
    }
    more = [f"\n## {title}\n\n{body}\n" for title, body in sections.items() if body]
    card = "\n".join(["---", *matter, "---", "", text]) + "".join(more)
    (folder / CARD).write_text(card, "utf-8")
