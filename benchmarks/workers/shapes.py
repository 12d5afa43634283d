"""What all libraries are given: (rows, tokens) of each suite, and who works on which row."""

FORWARD = (4, 64)
TRAINING = (2, 64)
ROWS = (32, 16)
FUSION = (8, 32)

ADAPTERS = 8

LOADED = {
    "one more, 1 loaded": 1,
    "one more, 32 loaded": 32,
    "one more seq_bn, 1 loaded": 1,
    "swap in place": 0,
}
"""Scenario of loading -> how many LoRAs the model has already."""


def rows() -> list[str]:
    """Return the adapter of each row: no two neighbours have the same."""
    return [str(row % ADAPTERS) for row in range(ROWS[0])]
