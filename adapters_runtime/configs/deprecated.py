"""Class names of older releases; importing one warns and gives the class of today."""

import warnings

REPLACEMENTS = {
    "AdapterConfigBase": "AdapterConfig",
    "PfeifferConfig": "SeqBnConfig",
    "PfeifferInvConfig": "SeqBnInvConfig",
    "HoulsbyConfig": "DoubleSeqBnConfig",
    "HoulsbyInvConfig": "DoubleSeqBnInvConfig",
    "ParallelConfig": "ParBnConfig",
}


def replacement_for(name: str) -> str | None:
    """Return today's name of an old class, with a warning, or None when it is no old class."""
    new = REPLACEMENTS.get(name)
    if new is not None:
        # The reader is two calls away: the import statement, and the module's __getattr__.
        warnings.warn(f"{name} is deprecated: use {new}", FutureWarning, stacklevel=3)
    return new
