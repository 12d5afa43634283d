"""What an evaluator signs: a score as canonical JSON, together with the evidence it rests on.

    {"conditions": {...}, "dataset": "xcopa", ..., "evidence": "sha256:...", ...}

Keys are those of ed25519 (RFC 8032), the bytes signed are RFC 8785's.
"""

from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from registry import strictjson


class Measured(Protocol):
    """The fields of a score that a statement holds; rows and request bodies have them."""

    @property
    def subject(self) -> str: ...
    @property
    def dataset(self) -> str: ...
    @property
    def config(self) -> str | None: ...
    @property
    def split(self) -> str: ...
    @property
    def language(self) -> str | None: ...
    @property
    def metric(self) -> str: ...
    @property
    def value(self) -> float: ...
    @property
    def n(self) -> int | None: ...
    @property
    def stderr(self) -> float | None: ...
    @property
    def conditions(self) -> dict[str, Any]: ...


FIELDS = (
    *("subject", "dataset", "config", "split", "language", "metric", "value", "n", "stderr"),
    "conditions",
)


def statement(score: Measured, evidence: str) -> bytes:
    """Return the bytes that are signed. `evidence` is `sha256:` and the digest of a blob.

    Raises StrictJsonError where the conditions have no canonical form.
    """
    fields = {field: getattr(score, field) for field in FIELDS}
    return strictjson.canonical({"schema": "hub.score/1", **fields, "evidence": evidence})


def is_signed(key: str, signature: str, message: bytes) -> bool:
    """Whether the signature is that of the message by this public key, both in hexadecimal."""
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
        public.verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def sign(private: Ed25519PrivateKey, message: bytes) -> str:
    return private.sign(message).hex()


def public_key(private: Ed25519PrivateKey) -> str:
    """Return the public key in hexadecimal, as it is registered."""
    return private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def read_private_key(data: bytes) -> Ed25519PrivateKey:
    """Read an unencrypted ed25519 key in OpenSSH's form or PEM. Raises ValueError."""
    load = load_ssh_private_key if b"OPENSSH PRIVATE KEY" in data else load_pem_private_key
    try:
        key = load(data, password=None)
    except TypeError as error:
        raise ValueError("the key is encrypted; use one without a passphrase") from error
    except ValueError as error:
        raise ValueError("this is no private key in OpenSSH's form or PEM") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("the key is not an ed25519 key")  # noqa: TRY004  (a file's content)
    return key
