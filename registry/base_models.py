"""Base models by digest: registering one, finding one again, and what its adapters are checked by.

Names are mirrored and reused, so two bases are the same when their weights are. A cast to another
floating point type is an alias of the weights it was made from.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import ColumnElement, exists, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from adapters_runtime.architectures import architecture_of_config
from adapters_runtime.errors import UnsupportedArchitecture
from adapters_runtime.shapes import BaseDescription
from registry import accounts, audit, strictjson
from registry.errors import BaseModelNotFound, InvalidBaseModel
from registry.models import Account, Adapter, BaseAlias, BaseModel, Version
from registry.schemas import BaseIdentity, BaseModelIn, BaseModelOut
from registry.weights import MOST_DIMENSIONS, MOST_ELEMENTS, MOST_TENSORS

LARGEST_CONFIG = 1 << 20

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
_TENSOR = re.compile(r"[A-Za-z0-9_.]{1,256}")
_REVISION = re.compile(r"[A-Za-z0-9._-]{1,40}")
_MODEL_TYPE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_DTYPE = re.compile(r"[A-Za-z0-9_.]{1,16}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def register(session: Session, body: BaseModelIn, account: Account) -> BaseModel:
    """Record a base model and return its row.

    The same weights are one row under the name they first came with, whoever registers them again
    and as what. Raises InvalidBaseModel when the document is incomplete, or says of known weights
    that their tensors have other names or shapes.
    """
    identity = _checked(body)
    if (known := find(session, identity)) is not None:
        _check_same(known, body)
        return known
    row = BaseModel(
        name=identity.name,
        revision=identity.revision,
        model_type=body.config["model_type"],
        structure=identity.structure,
        body=identity.body,
        embeddings=identity.embeddings,
        tokenizer=identity.tokenizer,
        config=body.config,
        tensors=body.tensors,
        registered_by_id=account.id,
        aliases=[BaseAlias(**alias) for alias in body.aliases],
    )
    # Checking first does not keep two clients from registering the same base at once.
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        known = find(session, identity)
        if known is None:
            raise
        return known
    audit.record(session, account, "base.register", identity.name or "", body=identity.body)
    return row


def find(session: Session, wanted: BaseIdentity | str) -> BaseModel | None:
    """Return the base of these digests or casts of them, or of this `name` or `name@revision`.

    Digests decide where there are any; the name counts only without. Of several bases of one name
    the first that was registered is meant, so that a later one cannot take a name over.
    """
    if isinstance(wanted, str):
        name, _, revision = wanted.partition("@")
        wanted = BaseIdentity(name=name, revision=revision or None)
    conditions = _conditions(wanted)
    if not conditions:
        return None
    query = select(BaseModel).where(*conditions).order_by(BaseModel.id)
    found = session.scalars(query).all()
    # A base may be registered with and without its tokenizer.
    exact = (row for row in found if row.tokenizer == wanted.tokenizer)
    return next(exact, found[0] if found else None)


def get(session: Session, wanted: BaseIdentity | str) -> BaseModel:
    """As `find`. Raises BaseModelNotFound, which says how a base comes to be registered."""
    if (row := find(session, wanted)) is not None:
        return row
    name = wanted if isinstance(wanted, str) else wanted.name or wanted.body or "of unknown name"
    raise BaseModelNotFound(
        f"no base model {name} is registered here; 'hubctl push' registers the base of what it "
        "sends, 'hubctl base register' one that is at hand"
    )


def matching(session: Session, *, name: str | None, body: str | None) -> list[BaseModel]:
    """Return the registered bases of a name or a body, oldest first; all when neither is given."""
    wanted = BaseIdentity(name=name, body=body)
    query = select(BaseModel).where(*_conditions(wanted)).order_by(BaseModel.id)
    return list(session.scalars(query))


def same_weights(session: Session, first: str | None, second: str | None) -> bool:
    """Whether two digests are those of the same weights, be it in different types."""
    if first is None or second is None:
        return False
    if first == second:
        return True
    return not _rows_with(session, first).isdisjoint(_rows_with(session, second))


def describe(base: BaseModel) -> BaseDescription:
    """Return what the shapes of an adapter's tensors follow from."""
    tensors = {name: tuple(entry["shape"]) for name, entry in base.tensors.items()}
    return BaseDescription(model_type=base.model_type, config=base.config, tensors=tensors)


def identity_of(base: BaseModel) -> BaseIdentity:
    return BaseIdentity(
        name=base.name,
        revision=base.revision,
        structure=base.structure,
        body=base.body,
        embeddings=base.embeddings,
        tokenizer=base.tokenizer,
    )


def base_model_out(
    session: Session, base: BaseModel, viewer: Account | None, *, full: bool = False
) -> BaseModelOut:
    """Shape a row for the wire; `full` adds what an adapter folder is checked against."""
    adapters = session.scalar(
        select(func.count(Version.adapter_id.distinct()))
        .join(Adapter, Adapter.id == Version.adapter_id)
        .where(
            Version.structure == base.structure,
            Version.base_name == base.name,
            accounts.visible_to(viewer),
        )
    )
    return BaseModelOut(
        identity=identity_of(base),
        model_type=base.model_type,
        registered_at=base.registered_at,
        adapters=adapters or 0,
        config=base.config if full else None,
        tensors=base.tensors if full else None,
    )


# --- queries -------------------------------------------------------------------------------------


def _conditions(wanted: BaseIdentity) -> list[ColumnElement[bool]]:
    if wanted.body is None:
        given = {"name": wanted.name, "revision": wanted.revision} if wanted.name else {}
        return [getattr(BaseModel, key) == value for key, value in given.items() if value]
    conditions = [_has_part("body", wanted.body)]
    if wanted.embeddings is not None:
        conditions.append(_has_part("embeddings", wanted.embeddings))
    return conditions


def _has_part(part: str, digest: str) -> ColumnElement[bool]:
    """Say that a base has this digest, or a cast of it that has."""
    alias = exists().where(
        BaseAlias.base_id == BaseModel.id, BaseAlias.part == part, BaseAlias.digest == digest
    )
    return or_(getattr(BaseModel, part) == digest, alias)


def _rows_with(session: Session, digest: str) -> set[int]:
    either = or_(_has_part("body", digest), _has_part("embeddings", digest))
    return set(session.scalars(select(BaseModel.id).where(either)))


# --- checks --------------------------------------------------------------------------------------


def _checked(body: BaseModelIn) -> BaseIdentity:
    """Return the identity of a document that is complete and does not contradict itself."""
    identity = body.identity
    required = ("name", "structure", "body", "embeddings")
    problems = [
        f"identity.{field} is missing" for field in required if getattr(identity, field) is None
    ]
    if identity.name is not None and not _NAME.fullmatch(identity.name):
        problems.append(f"identity.name {identity.name!r} is not a name such as owner/model")
    if identity.revision is not None and not _REVISION.fullmatch(identity.revision):
        problems.append(f"identity.revision {identity.revision!r} is not the id of a commit")
    problems += [*_config_problems(body.config), *_tensor_problems(body.tensors)]
    problems += [f for alias in body.aliases if (f := _alias_problem(alias))]
    if not problems:
        problems += _structure_problems(identity, body)
    if problems:
        raise InvalidBaseModel("; ".join(problems[:20]))
    return identity


def _config_problems(config: Mapping[str, Any]) -> Iterator[str]:
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not _MODEL_TYPE.fullmatch(model_type):
        yield f"config.model_type {model_type!r} is no model type of transformers"
    try:
        size = len(strictjson.canonical(config))
    except strictjson.StrictJsonError as error:
        yield f"config: {error}"
    else:
        if size > LARGEST_CONFIG:
            yield f"config takes {size:,} bytes; {LARGEST_CONFIG:,} are allowed"


def _tensor_problems(tensors: Mapping[str, Any]) -> Iterator[str]:
    if not 0 < len(tensors) <= MOST_TENSORS:
        yield f"tensors: {len(tensors):,} entries; 1 to {MOST_TENSORS:,} are allowed"
        return
    for name, entry in tensors.items():
        if not _TENSOR.fullmatch(name):
            yield f"tensors: {name[:260]!r} is no parameter's name"
        elif entry.keys() != {"dtype", "shape"} or not _DTYPE.fullmatch(str(entry["dtype"])):
            yield f"tensors: {name} needs exactly a dtype and a shape"
        elif not _is_shape(entry["shape"]):
            yield f"tensors: {name} has no shape of up to 8 sizes, but {entry['shape']!r}"


def _is_shape(value: Any) -> bool:
    if not isinstance(value, list) or len(value) > MOST_DIMENSIONS:
        return False
    return all(type(size) is int and 0 <= size < MOST_ELEMENTS for size in value)


def _alias_problem(alias: Mapping[str, str]) -> str | None:
    if (
        alias.keys() == {"part", "dtype", "digest"}
        and alias["part"] in ("body", "embeddings")
        and _DTYPE.fullmatch(alias["dtype"])
        and _DIGEST.fullmatch(alias["digest"])
    ):
        return None
    return f"aliases: {dict(alias)} is not a part (body or embeddings), a dtype and a digest"


def _structure_problems(identity: BaseIdentity, body: BaseModelIn) -> Iterator[str]:
    """Recompute the structure, which decides what fits; without a specification it is trusted."""
    try:
        architecture = architecture_of_config(body.config)
    except UnsupportedArchitecture:
        return
    index = {
        name: entry["shape"]
        for name, entry in body.tensors.items()
        if architecture.role_of(name) == "body"
    }
    if (found := strictjson.digest(index)) != identity.structure:
        yield f"identity.structure is {identity.structure}, but that of the tensors is {found}"


def _check_same(known: BaseModel, body: BaseModelIn) -> None:
    """Known weights have known shapes; a difference means that somebody's digests are wrong."""
    before = {name: entry["shape"] for name, entry in known.tensors.items()}
    after = {name: entry["shape"] for name, entry in body.tensors.items()}
    differ = sorted(
        name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
    )
    if differ or known.model_type != body.config["model_type"]:
        what = f"its tensor {differ[0]}" if differ else "its model type"
        raise InvalidBaseModel(
            f"{body.identity.name} has the weights of {known.name}, which is registered, but "
            f"{what} differs; compute the identity again with the present hubctl"
        )
