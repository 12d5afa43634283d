"""What all documents share: digests, names of kinds and states, and strictness."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
RevisionId = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
Kind = Literal["task", "language", "fusion", "head", "embedding", "setup"]
Count = Annotated[int, Field(ge=0, lt=2**63)]
"""What a database's integer holds: numbers of rows, sizes in bytes, counts."""
State = Literal["live", "deprecated", "yanked", "quarantined", "removed"]


class Document(BaseModel):
    """A document whose unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
