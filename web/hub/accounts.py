"""Hub protocol: who am I, card checks, and questions that get a quiet answer."""

from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from registry import accounts, frontmatter, listing
from web.deps import DatabaseSession, RequiredCaller
from web.hub.shapes import instant

router = APIRouter(include_in_schema=False)

LONGEST_LIST = 1_000


@router.get("/api/whoami-v2")
def who_am_i(caller: RequiredCaller, session: DatabaseSession) -> dict[str, Any]:
    account = caller.account
    return {
        "type": "user",
        "id": str(account.id),
        "name": account.name,
        "fullname": account.full_name or account.name,
        "email": account.email,
        "emailVerified": False,
        "isPro": False,
        "canPay": False,
        "orgs": [
            {
                "type": "org",
                "id": str(organisation.id),
                "name": organisation.name,
                "roleInOrg": role,
            }
            for organisation, role in accounts.organisations(session, account)
        ],
        "auth": {
            "type": "access_token",
            # Clients know no role above "write".
            "accessToken": {
                "displayName": caller.token_label,
                "role": "read" if caller.role == "read" else "write",
            },
        },
    }


class CardIn(BaseModel):
    content: str
    repoType: str | None = None  # noqa: N815  (the name on the wire)


@router.post("/api/validate-yaml")
def validate_card(body: CardIn, response: Response) -> dict[str, Any]:
    """Clients ask before they commit a README.md; front matter that cannot be read is refused."""
    fault = frontmatter.split(body.content).fault
    if fault is not None:
        response.status_code = 400
    errors = [{"message": f"README.md: {fault}"}] if fault is not None else []
    return {"errors": errors, "warnings": []}


@router.get("/api/settings/repositories")
def my_repositories(caller: RequiredCaller, session: DatabaseSession) -> list[dict[str, Any]]:
    return _storage(session, caller, caller.account.name)


@router.get("/api/organizations/{owner}/settings/repositories")
def repositories_of(
    owner: str, caller: RequiredCaller, session: DatabaseSession
) -> list[dict[str, Any]]:
    return _storage(session, caller, owner)


def _storage(session: Session, caller: accounts.Caller, owner: str) -> list[dict[str, Any]]:
    query = listing.Query(owner=owner, limit=LONGEST_LIST)
    page = listing.list_adapters(session, query, caller.account)
    sizes = [
        sum(file.blob.size for file in row.revision.files) if row.revision is not None else 0
        for row in page.rows
    ]
    return [
        {
            "id": row.adapter.name,
            "type": "model",
            "updatedAt": instant(row.adapter.updated_at),
            "visibility": row.adapter.visibility,
            "storage": size,
            "storagePercent": 100 * size / (sum(sizes) or 1),
        }
        for row, size in zip(page.rows, sizes, strict=True)
    ]


@router.post("/v1/telemetry", status_code=204)
def no_telemetry() -> None:
    """Clients report here what they do; it is not kept."""
