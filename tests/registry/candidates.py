"""Candidates for tests of the resolver, as small as a rule allows: a base, and adapters for it."""

import hashlib

from registry.plan import Candidate, ResolvedBase
from registry.schemas import BaseIdentity, Need, Recipe, Requirement, Signature
from registry.versioning import Number


def digest(*parts):
    return "sha256:" + hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()


def identity(name="xlmr", *, structure="xlmr", body=None, vocabulary="xlmr"):
    return BaseIdentity(
        name=name,
        structure=digest("structure", structure),
        body=digest("body", body or name),
        embeddings=digest("embeddings", vocabulary),
        tokenizer=digest("tokenizer", vocabulary),
    )


def base(known=None, **fields):
    return ResolvedBase.of(known or identity(), **fields)


def signature(slot="lang", **fields):
    usual = {"method": "seq_bn", "layers": (0, 1, 2), "points": ("output",), "invertible": "nice"}
    if slot == "task":
        usual |= {"invertible": None}
    return Signature(slot=slot, **(usual | fields))


def candidate(ref, **fields):
    name, _, number = ref.partition("@")
    fields = {
        "content": digest(ref, fields),
        "revision": digest("revision", ref)[7:47],
        "base": identity(),
        "files": {"adapter.safetensors": {"sha256": digest("weights", ref)[7:], "size": 8}},
        **fields,
    }
    return Candidate(adapter=name, number=Number.parse(number or "1.0.0"), **fields)


def language(ref, tag="qu", *, series=None, **fields):
    own = {key: fields.pop(key) for key in ("method", "layers", "invertible") if key in fields}
    offered = signature("lang", language=tag, series=series, **own)
    usual = {"kind": "language", "languages": (tag,), "requires": {}, "signature": offered}
    return candidate(ref, **(usual | fields))


def task(ref, *, partner=None, requires=..., has_head=True, **fields):
    """A task adapter trained on top of a usual English language adapter, unless told otherwise."""
    if requires is ...:
        trained_with = partner or Requirement(signature=signature("lang", language="en"))
        requires = {"lang": trained_with}
    usual = {"kind": "task", "signature": signature("task"), "has_head": has_head}
    return candidate(ref, requires=requires, **(usual | fields))


def recipe(slots=None, setup=None, **fields):
    slots = slots or {"lang": Need(language="qu"), "task": "acme/copa@^1"}
    return Recipe(slots=slots, setup=setup or {"Stack": ["lang", "task"]}, base="xlmr", **fields)
