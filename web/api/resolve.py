"""Set-ups over HTTP: from a recipe to a lock, and from a lock to one with another part."""

from fastapi import APIRouter

from registry import candidates, resolve, setup
from registry.schemas import Recipe, Resolution, SwapIn
from web.deps import DatabaseSession, OptionalCaller, reads_only, viewer_of

router = APIRouter(prefix="/api/v1", tags=["set-ups"])


@router.post("/resolve")
@reads_only
def resolve_recipe(recipe: Recipe, session: DatabaseSession, caller: OptionalCaller) -> Resolution:
    """Pin every slot of a recipe, or say for every candidate why it does not fit (409).

    The same recipe over the same visible index gives the same lock, byte for byte.
    """
    found, base = candidates.candidates_for(session, recipe, viewer_of(caller))
    return resolve.resolve(recipe, found, base)


@router.post("/swap")
@reads_only
def swap_parts(body: SwapIn, session: DatabaseSession, caller: OptionalCaller) -> Resolution:
    """Fill some slots of a lock anew and leave the others pinned, or say why not (409)."""
    lock = setup.read_lock(body.lock)
    recipe = resolve.swap_recipe(lock, body.slots, body.options)
    found, base = candidates.candidates_for(session, recipe, viewer_of(caller))
    return resolve.swap(lock, body.slots, found, base, body.options)
