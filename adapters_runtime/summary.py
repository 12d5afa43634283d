"""What adapters a model has: as modules, as rows, and as a table."""

from typing import Any

from torch import nn

from adapters_runtime.configs import signature
from adapters_runtime.inject.bank import ATTRIBUTE, AdapterBank, bank_of, base_of
from adapters_runtime.inject.bottleneck_point import BottleneckPoint
from adapters_runtime.inject.linear_point import LinearPoint
from adapters_runtime.inject.point import Point

COLUMNS = {
    "name": "Name",
    "architecture": "Architecture",
    "#param": "#Param",
    "%param": "%Param",
    "active": "Active",
    "train": "Train",
}


def modules_of(bank: AdapterBank, name: str) -> dict[int, dict[str, nn.Module]]:
    """Return {layer: {location: module}}; layer -1 holds what belongs to no layer."""
    bank.require(name)
    found: dict[int, dict[str, nn.Module]] = {}
    for point in bank.of_type(Point):
        if name in point.adapters:
            layer = -1 if point.layer is None else point.layer
            found.setdefault(layer, {})[_location(point)] = point.adapters[name]
    return found


def _location(point: Point) -> str:
    if isinstance(point, BottleneckPoint):
        return point.site.key
    if isinstance(point, LinearPoint):
        return "_".join((point.location.field, *point.location.matrices))
    return point.container


def rows(model: nn.Module) -> list[dict[str, Any]]:
    """Return one row per adapter, and one for the full model, last."""
    bank = bank_of(model)
    base = dict(base_of(model).named_parameters())
    own = [p for key, p in base.items() if not key.startswith(f"{ATTRIBUTE}.")]
    total = sum(parameter.numel() for parameter in own)
    activation = bank.activations.current()
    active = () if activation is None else activation.names
    layers = sum(1 for point in bank.of_type(BottleneckPoint))
    table = []
    for name, config in bank.configs.items():
        parameters = list(bank.parameters_of(name))
        count = sum(parameter.numel() for parameter in parameters)
        table.append(
            {
                "name": name,
                "architecture": signature(config, layers)["method"],
                "#param": count,
                "%param": 100 * count / total,
                "active": name in active,
                "train": any(parameter.requires_grad for parameter in parameters),
            }
        )
    trained = any(parameter.requires_grad for parameter in own)
    table.append({"name": "Full model", "#param": total, "%param": 100.0, "train": trained})
    return table


def table(rows: list[dict[str, Any]]) -> str:
    lines = [list(COLUMNS.values())]
    lines += [[_cell(row.get(key)) for key in COLUMNS] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = "=" * (sum(widths) + 2 * len(widths))
    texts = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    ]
    return "\n".join([rule, texts[0], "-" * len(rule), *texts[1:], rule])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
