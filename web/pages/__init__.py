"""The catalogue for people: server-rendered pages that work without scripts.

Included last, for `/{owner}/{name}` would match almost any address.
"""

from fastapi import APIRouter
from fastapi.routing import APIRoute

from web.pages import account, adapters, assets, bases, home, leaderboards, matrix, results
from web.pages.errors import install

__all__ = ["install", "router"]

router = APIRouter(include_in_schema=False)
for part in (assets, account, bases, home, leaderboards, matrix, results, adapters):
    for route in part.router.routes:
        # What watches a site, or looks for dead links in others, asks by HEAD.
        if isinstance(route, APIRoute) and route.methods and "GET" in route.methods:
            route.methods.add("HEAD")
    router.include_router(part.router)
