"""What fits a base model, told from digests."""

import pytest

from registry import base_fits, base_models
from registry.errors import BaseModelNotFound, InvalidRecipe
from registry.models import BaseAlias
from registry.schemas import BaseIdentity
from tests.registry.manifests import digest
from tests.support import shelf


@pytest.fixture
def base(session, blobs, ana):
    """A registered base with a cast, and adapters that stand on it, nearly, or on another."""
    row = shelf.add_base(session, ana)
    row.aliases.append(BaseAlias(part="body", digest=digest("half"), dtype="float16"))
    changes = {
        "own": {},
        "cast": {"body": digest("half")},
        "other-weights": {"body": digest("tuned"), "name": "tuned-xlmr"},
        "other-words": {"tokenizer": digest("another tokenizer")},
        "by-name": dict.fromkeys(("structure", "body", "embeddings", "tokenizer")),
        "elsewhere": {"structure": digest("deeper"), "body": digest("deeper body")},
    }
    for name, change in changes.items():
        adapter = shelf.add_adapter(session, blobs, f"lab/{name}")
        fields = shelf.language_pack("de", base=shelf.BASE | change)
        shelf.add_version(session, adapter, "1.0.0", state="deprecated", **fields)
        shelf.add_revision(session, blobs, adapter, {"note.txt": b"1"})
        shelf.add_version(session, adapter, "1.1.0", **fields)
    hidden = shelf.add_adapter(session, blobs, "lab/hidden", visibility="private")
    shelf.add_version(session, hidden, **shelf.language_pack("sw"))
    session.flush()
    return row


def fits(session, wanted, viewer=None):
    return {
        each.name.partition("/")[2]: each for each in base_fits.fitting(session, wanted, viewer)
    }


@pytest.mark.parametrize(
    "wanted",
    [
        "xlm-roberta-base",
        shelf.BASE["body"],
        digest("half"),
        BaseIdentity(**shelf.BASE),
    ],
)
def test_a_base_is_found_by_name_digest_cast_or_identity(session, base, wanted):
    found = fits(session, wanted)
    assert {name: each.fit for name, each in found.items()} == {
        "own": "fits",
        "cast": "fits",
        "other-weights": "near",
        "other-words": "near",
        "by-name": "unsure",
    }
    assert list(found)[-1] == "by-name"
    assert {each.number for each in found.values()} == {"1.1.0"}


def test_the_reason_says_what_differs(session, base):
    found = fits(session, "xlm-roberta-base")
    assert found["own"].reason == "the same weights, embeddings and tokenizer"
    assert "trained on tuned-xlmr" in found["other-weights"].reason
    assert "tokenizer" in found["other-words"].reason
    assert "its weights were not compared" in found["by-name"].reason


def test_a_model_that_nobody_registered_is_judged_by_its_identity(session, base):
    deeper = shelf.BASE | {"structure": digest("deeper"), "body": digest("deeper body")}
    found = fits(session, BaseIdentity(**deeper | {"name": None}))
    assert {name: each.fit for name, each in found.items()} == {"elsewhere": "fits"}


def test_private_adapters_are_for_those_who_see_them(session, base):
    assert "hidden" not in fits(session, "xlm-roberta-base")
    assert "hidden" in fits(session, "xlm-roberta-base", shelf.owner(session, "lab"))


def test_an_unknown_base_is_said(session, base):
    for unknown in ("nothing", digest("nothing")):
        with pytest.raises(BaseModelNotFound):
            base_fits.get_base(session, unknown)
    with pytest.raises(InvalidRecipe):
        fits(session, BaseIdentity())
    assert base_fits.get_base(session, digest("half")) is base
    assert base_models.get(session, "xlm-roberta-base") is base
