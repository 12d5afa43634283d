"""Folders of a tiny BERT's adapters on disk, as people have them before a push.

base(...)       the document hub_base.json: identity, configuration and tensor index
language(...)   a bottleneck with invertible parts, for one language
task(...)       a bottleneck with a classification head, trained on top of a language adapter
"""

import json
from pathlib import Path
from typing import Any

from adapters_runtime.configs import load_config, signature
from tests.support import packages

LAYERS, WIDTH = 2, 32
BOTTLENECK = "seq_bn[reduction_factor=4]"
INVERTIBLE = "seq_bn_inv[reduction_factor=4]"


def base(name: str = "tiny-bert", *, width: int = WIDTH) -> dict[str, Any]:
    """Return a base's registration. Another width is another structure, a name other weights."""
    described = packages.bert(layers=LAYERS, width=width)
    return packages.registration(described, name).model_dump(mode="json")


def language(folder: Path, tag: str = "qu", config: str = INVERTIBLE, **changes: Any) -> Path:
    """Write a language adapter. `changes` replace fields of hub_adapter.json."""
    about = {
        "kind": "language",
        "signature": _signature(config, slot="lang", language=tag),
        "languages": [tag],
    }
    return _write(folder, config, about | changes, seed=tag)


def task(
    folder: Path,
    *,
    seed: object = 0,
    labels: tuple[str, ...] = ("no", "yes"),
    partner: str | None = INVERTIBLE,
    **changes: Any,
) -> Path:
    """Write a task adapter. `partner`: the configuration it was trained on; None: alone."""
    about = {"kind": "task", "signature": _signature(BOTTLENECK, slot="task"), "languages": ["en"]}
    if partner is not None:
        wanted = _signature(partner, slot="lang", language="en")
        about["requires"] = {"lang": {"signature": wanted}}
        about["setup"] = {"Stack": ["lang", "task"]}
    classes = {label: index for index, label in enumerate(labels)}
    head = packages.HEAD | {"num_labels": len(labels), "label2id": classes}
    return _write(folder, BOTTLENECK, about | changes, seed=seed, head=head)


def _signature(config: str, *, slot: str, language: str | None = None) -> dict[str, Any]:
    offered = signature(load_config(config), LAYERS)
    return {**offered, "slot": slot, "language": language, "series": None}


def _write(
    folder: Path,
    config: str,
    about: dict[str, Any],
    *,
    seed: object,
    head: dict[str, Any] | None = None,
) -> Path:
    own = base()
    made = packages.make_folder(
        packages.bert(layers=LAYERS, width=WIDTH),
        config,
        identity=own["identity"],
        head=head,
        seed=seed,
        hub=about,
        card="",
    )
    made.write(folder)
    write_json(folder / "hub_base.json", own)
    return folder


def write_json(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=2, sort_keys=True), encoding="utf-8")


def edit_json(path: Path, **changes: Any) -> None:
    """Replace top-level fields of a document."""
    write_json(path, json.loads(path.read_text("utf-8")) | changes)
