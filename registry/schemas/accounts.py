"""Bodies of `/api/v1`: who is in an organisation, and who did what."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from registry.schemas.base import Document


class MemberIn(Document):
    """`PUT /api/v1/organisations/{name}/members/{user}`."""

    role: Literal["read", "write", "admin"]


class MemberOut(BaseModel):
    name: str
    role: str


class AuditOut(BaseModel):
    """One line of the answer of `GET /api/v1/audit`."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
