"""How the features of a fused projection are shared by heads of queries, keys and values."""

from adapters_runtime.architectures.spec import FusedProjection


def part_widths(
    fused: FusedProjection, total: int, heads: int, key_heads: int | None, stream: int
) -> dict[str, int] | None:
    """Return the features of each part of a fused map that gives `total`; None if that is uneven.

    Where a configuration does not say how many key heads there are, a head is as wide as its share
    of the stream, and keys and values have what queries leave.
    """
    if key_heads is None:
        key_heads = (total * heads // stream - heads) // (len(fused.parts) - 1)
    counts = {part: heads if part == "q" else key_heads for part in fused.parts}
    width, rest = divmod(total, sum(counts.values()))
    return None if rest or key_heads < 1 else {part: n * width for part, n in counts.items()}
