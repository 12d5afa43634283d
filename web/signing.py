"""Addresses that are permissions: whoever holds one may do what it says until it expires."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

from registry.errors import NotAllowed


class Signer:
    """Signs small documents with the hub's one secret."""

    def __init__(self, key: bytes, lifetime: int) -> None:
        self.key = key
        self.lifetime = lifetime

    def sign(self, purpose: str, **claims: Any) -> str:
        """Return a ticket for one purpose: `<claims>.<signature>`, safe in a URL."""
        body = json.dumps({**claims, "for": purpose, "until": int(time.time()) + self.lifetime})
        text = _encode(body.encode())
        return f"{text}.{self._signature(text)}"

    def verify(self, purpose: str, ticket: str) -> Mapping[str, Any]:
        """Return the claims. Raises NotAllowed if it is forged, too old or for another use."""
        text, _, signature = ticket.partition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(text).encode()):
            raise NotAllowed("this upload address is not one of ours; ask for a new one")
        claims: Mapping[str, Any] = json.loads(_decode(text))
        if claims["for"] != purpose:
            raise NotAllowed(f"this address was not made to {purpose}")
        if claims["until"] < time.time():
            raise NotAllowed("this upload address has expired; start the upload again")
        return claims

    def mac(self, purpose: str, text: str) -> str:
        """Return what only this hub can say of a text, for one purpose."""
        return self._signature(f"{purpose}\n{text}")

    def _signature(self, text: str) -> str:
        return _encode(hmac.new(self.key, text.encode(), hashlib.sha256).digest())


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
