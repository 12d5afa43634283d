import pytest
from sqlalchemy import func, select

from registry import base_models
from registry.errors import BaseModelNotFound, InvalidBaseModel
from registry.models import BaseModel
from registry.schemas import BaseIdentity
from tests.support.packages import REVISION, bert, gpt2, registration, sha

BODY = registration(bert())


def changed(document, **parts):
    """Return a copy of a registration with other values in parts of its identity."""
    identity = document.identity.model_copy(update=parts)
    return document.model_copy(update={"identity": identity})


def alias(document, part, dtype):
    return next(
        entry["digest"]
        for entry in document.aliases
        if (entry["part"], entry["dtype"]) == (part, dtype)
    )


def count(session):
    return session.scalar(select(func.count()).select_from(BaseModel))


def test_a_base_is_registered_once(session, ana, ben):
    row = base_models.register(session, BODY, ana)
    again = base_models.register(session, BODY, ben)
    mirrored = base_models.register(session, changed(BODY, name="mirror/bert"), ben)
    assert row is again is mirrored
    assert count(session) == 1
    assert row.name == "tiny/bert"


def test_a_cast_of_a_registered_base_is_that_base(session, ana):
    row = base_models.register(session, BODY, ana)
    cast = {part: alias(BODY, part, "F16") for part in ("body", "embeddings")}
    assert base_models.register(session, changed(BODY, **cast), ana) is row


def test_another_vocabulary_is_another_base(session, ana):
    row = base_models.register(session, BODY, ana)
    other = changed(BODY, embeddings=sha("longer"), tokenizer=sha("longer"))
    assert base_models.register(session, other, ana) is not row


def test_a_base_may_come_without_its_tokenizer(session, ana):
    bare = changed(BODY, tokenizer=None)
    row = base_models.register(session, bare, ana)
    assert base_models.register(session, bare, ana) is row
    assert base_models.find(session, BODY.identity) is row


@pytest.mark.parametrize(
    "wanted",
    [
        "tiny/bert",
        f"tiny/bert@{REVISION}",
        BODY.identity,
        BaseIdentity(body=BODY.identity.body),
        BaseIdentity(name="renamed", body=alias(BODY, "body", "BF16")),
        BaseIdentity(name="tiny/bert"),
    ],
)
def test_a_base_is_found_by_name_digest_or_cast(session, ana, wanted):
    row = base_models.register(session, BODY, ana)
    assert base_models.find(session, wanted) is row


@pytest.mark.parametrize(
    "wanted",
    [
        "tiny",
        "tiny/bert@" + "1" * 40,
        "",
        BaseIdentity(),
        BaseIdentity(body=sha("x")),
        # The name does not count where there is a digest.
        BaseIdentity(name="tiny/bert", body=sha("x")),
        BODY.identity.model_copy(update={"embeddings": sha("x")}),
    ],
)
def test_what_is_not_registered_is_not_found_and_the_error_says_how_to(session, ana, wanted):
    base_models.register(session, BODY, ana)
    assert base_models.find(session, wanted) is None
    with pytest.raises(BaseModelNotFound, match="hubctl push"):
        base_models.get(session, wanted)


def test_nobody_takes_over_the_name_of_a_base(session, ana, ben):
    row = base_models.register(session, BODY, ana)
    base_models.register(session, registration(bert(), seed="another"), ben)
    assert count(session) == 2
    assert base_models.find(session, "tiny/bert") is row
    assert len(base_models.matching(session, name="tiny/bert", body=None)) == 2


def test_weights_are_the_same_across_casts_only(session, ana):
    base_models.register(session, BODY, ana)
    body, half, brain = BODY.identity.body, alias(BODY, "body", "F16"), alias(BODY, "body", "BF16")
    assert base_models.same_weights(session, body, body)
    assert base_models.same_weights(session, half, brain)
    assert base_models.same_weights(session, body, half)
    assert base_models.same_weights(session, sha("unknown"), sha("unknown"))
    assert not base_models.same_weights(session, body, sha("unknown"))
    assert not base_models.same_weights(session, None, None)


def test_a_base_describes_what_adapters_are_checked_by(session, ana):
    described = base_models.describe(base_models.register(session, BODY, ana))
    assert described == bert()


def wrong(**fields):
    return BODY.model_copy(update=fields)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (changed(BODY, name=None), "identity.name is missing"),
        (changed(BODY, body=None), "identity.body is missing"),
        (changed(BODY, name="/root/models/bert"), "is not a name"),
        (changed(BODY, revision="a b"), "identity.revision"),
        (changed(BODY, structure=sha("x")), "identity.structure is"),
        (wrong(config={}), "config.model_type None"),
        (wrong(config={"model_type": "bert", "n": 2**60}), "config: "),
        (wrong(config={"model_type": "bert", "n": "x" * (1 << 20)}), "config takes"),
        (wrong(tensors={}), "tensors: 0 entries"),
        (wrong(tensors={"a/b": {"dtype": "F32", "shape": [1]}}), "'a/b' is no parameter's name"),
        (wrong(tensors={"a": {"shape": [1]}}), "tensors: a needs exactly"),
        (wrong(tensors={"a": {"dtype": "F32", "shape": [-1]}}), "tensors: a has no shape"),
        (wrong(tensors={"a": {"dtype": "F32", "shape": "big"}}), "tensors: a has no shape"),
        (wrong(aliases=[{"part": "soul", "dtype": "F16", "digest": sha(1)}]), "aliases: "),
        (wrong(aliases=[{"part": "body", "dtype": "F16", "digest": "x"}]), "aliases: "),
    ],
)
def test_a_registration_that_makes_no_sense_is_refused_with_the_field(
    session, ana, document, reason
):
    with pytest.raises(InvalidBaseModel) as refusal:
        base_models.register(session, document, ana)
    assert reason in str(refusal.value)
    assert count(session) == 0


def test_the_same_weights_cannot_have_other_tensors(session, ana):
    base_models.register(session, BODY, ana)
    other = registration(gpt2())
    digests = {part: getattr(BODY.identity, part) for part in ("body", "embeddings", "tokenizer")}
    with pytest.raises(InvalidBaseModel, match=r"tensor .* differs"):
        base_models.register(session, changed(other, **digests), ana)


def test_an_architecture_without_specification_is_taken_on_trust(session, ana):
    document = wrong(config={"model_type": "something-new"})
    row = base_models.register(session, changed(document, structure=sha("any")), ana)
    assert row.model_type == "something-new"
