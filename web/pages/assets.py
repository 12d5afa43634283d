"""Style sheet, script and icon, under addresses that hold their digest and so never go stale."""

import hashlib
import mimetypes
from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter, HTTPException, Response

router = APIRouter()

FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Asset:
    path: str
    content: bytes
    media_type: str


def _load() -> dict[str, Asset]:
    found = {}
    for entry in (files("web") / "static").iterdir():
        content = entry.read_bytes()
        digest = hashlib.sha256(content).hexdigest()[:16]
        media_type = mimetypes.guess_type(entry.name)[0] or "application/octet-stream"
        found[entry.name] = Asset(f"/static/{digest}/{entry.name}", content, media_type)
    return found


_ASSETS = _load()


def path_of(name: str) -> str:
    return _ASSETS[name].path


@router.get("/static/{digest}/{name}")
def get_asset(digest: str, name: str) -> Response:
    asset = _ASSETS.get(name)
    # A page of an older release asks for older contents, and must not get others for them.
    if asset is None or asset.path != f"/static/{digest}/{name}":
        raise HTTPException(404)
    headers = {"Cache-Control": FOR_EVER, "X-Content-Type-Options": "nosniff"}
    return Response(asset.content, media_type=asset.media_type, headers=headers)
