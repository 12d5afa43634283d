"""Specifications by tensor matching: for models of types that nobody has described.

`derive` finds a specification and certifies it; `architecture_of` uses it where the certificate is
closed. The way to a specification that lasts is derive, review, commit: see
docs/adding_an_architecture.md.
"""

from adapters_runtime.derive.certificate import Certificate, StackCertificate, certify
from adapters_runtime.derive.deriving import Derivation, derive, make_specimen
from adapters_runtime.derive.unknown import architecture_of, derived_architecture

__all__ = [
    "Certificate",
    "Derivation",
    "StackCertificate",
    "architecture_of",
    "certify",
    "derive",
    "derived_architecture",
    "make_specimen",
]
