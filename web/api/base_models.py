"""`/api/v1/base-models`: what the hub knows of the models that adapters were trained on."""

from fastapi import APIRouter, status

from registry import accounts, base_fits, base_models
from registry.schemas import BaseModelIn, BaseModelOut, Digest, FitOut, FitsIn
from web.deps import DatabaseSession, OptionalCaller, RequiredCaller, reads_only, viewer_of

router = APIRouter(prefix="/api/v1/base-models", tags=["base models"])


@router.post("", status_code=status.HTTP_201_CREATED)
def register_base_model(
    body: BaseModelIn, session: DatabaseSession, caller: RequiredCaller
) -> BaseModelOut:
    """Record a base model: digests, configuration, tensor index. The same one again is fine."""
    accounts.require_owner(session, caller, caller.account, "write", subject="base models")
    row = base_models.register(session, body, caller.account)
    return base_models.base_model_out(session, row, caller.account)


@router.get("")
def list_base_models(
    session: DatabaseSession,
    caller: OptionalCaller,
    name: str | None = None,
    body: Digest | None = None,
    *,
    full: bool = False,
) -> list[BaseModelOut]:
    """List the base models of a name or a body digest; `full` adds configuration and tensors."""
    found = base_models.matching(session, name=name, body=body)
    viewer = viewer_of(caller)
    return [base_models.base_model_out(session, row, viewer, full=full) for row in found]


@router.post("/fits")
@reads_only
def list_fits(body: FitsIn, session: DatabaseSession, caller: OptionalCaller) -> list[FitOut]:
    """List the adapters that stand on a base model, by its digests; what fits comes first.

    The base need not be registered when its identity is sent.
    """
    return base_fits.fitting(session, body.base, viewer_of(caller))
