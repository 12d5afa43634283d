"""The pages of base models: which the hub knows, and what fits one of them."""

from fastapi import APIRouter, Response

from registry import base_fits, base_models, prose
from web.deps import BaseUrl, DatabaseSession, OptionalCaller, viewer_of
from web.pages.rendering import page

router = APIRouter()

SHOWN = 200
"""Adapters that a page lists; the rest is a search."""


@router.get("/base-models")
def get_bases(session: DatabaseSession, caller: OptionalCaller, base: BaseUrl) -> Response:
    viewer = viewer_of(caller)
    known = [
        base_models.base_model_out(session, row, viewer)
        for row in base_models.matching(session, name=None, body=None)
    ]
    known.sort(key=lambda each: (-each.adapters, each.identity.name or ""))
    return page("base_models.html", bases=known, endpoint=base)


@router.get("/base-models/{selector:path}")
def get_base(selector: str, session: DatabaseSession, caller: OptionalCaller) -> Response:
    """Show a base by name, `name@revision`, or the digest of its body or of a cast of it."""
    viewer = viewer_of(caller)
    row = base_fits.get_base(session, selector)
    about = base_models.base_model_out(session, row, viewer)
    fits = base_fits.fitting(session, about.identity, viewer)
    others = base_models.matching(session, name=row.name, body=None)
    return page(
        "base_model.html",
        about=about,
        parts_of=prose.base_parts(about.identity),
        aliases=sorted(row.aliases, key=lambda alias: (alias.part, alias.dtype)),
        others=[each for each in others if each.id != row.id],
        fits=fits[:SHOWN],
        more=len(fits) - SHOWN,
        words={
            "fits": "Fits",
            "near": "Trained on something close",
            "unsure": "Known by its name only",
        },
    )
