"""Signing scores with an evaluator's key, which never leaves this machine."""

from pathlib import Path
from typing import TYPE_CHECKING

from cli.failures import Failure

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from registry.schemas import ScoreIn

MAKE_ONE = "make one: ssh-keygen -t ed25519 -N '' -f evaluator.key"


def read_key(path: Path) -> "Ed25519PrivateKey":
    """Read a private key. Raises Failure."""
    from registry import statements  # noqa: PLC0415  (only those who sign pay for cryptography)

    try:
        return statements.read_private_key(path.read_bytes())
    except ValueError as error:
        raise Failure(f"{path}: {error}", hint=MAKE_ONE) from error


def verified(score: "ScoreIn", private: "Ed25519PrivateKey", evidence: str) -> "ScoreIn":
    """Return the score as a verified one. `evidence` is `sha256:` and the digest of its bytes."""
    from registry import statements  # noqa: PLC0415
    from registry.schemas import VerificationIn  # noqa: PLC0415

    signature = statements.sign(private, statements.statement(score, evidence))
    key = statements.public_key(private)
    verification = VerificationIn(key=key, evidence=evidence, signature=signature)
    return score.model_copy(update={"source": "verified", "verification": verification})


def public_key(path: Path) -> str:
    """Return the public key that belongs to a private one, in hexadecimal. Raises Failure."""
    from registry import statements  # noqa: PLC0415

    return statements.public_key(read_key(path))
