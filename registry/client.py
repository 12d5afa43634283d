"""A typed client of the hub's HTTP interface, `/api/v1`.

HubError                the hub refused; carries what the hub said
├── NotAHub             something answered that is not this kind of server
└── HubUnreachable      nothing answered
"""

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar
from urllib.parse import quote

import httpx2
from pydantic import BaseModel, TypeAdapter, ValidationError

from registry import names
from registry.schemas import (
    AdapterOut,
    AuditOut,
    BaseIdentity,
    BaseModelIn,
    BaseModelOut,
    BoardKey,
    BoardOut,
    DatasetIn,
    DatasetOut,
    DiffOut,
    ErrorBody,
    EvaluatorKeyIn,
    EvaluatorKeyOut,
    FitOut,
    FitsIn,
    LeaderboardOut,
    MatrixOut,
    MemberIn,
    MemberOut,
    MetricIn,
    MetricOut,
    PublishIn,
    Recipe,
    Resolution,
    RetractionIn,
    ScoreIn,
    ScoreOut,
    SearchPage,
    State,
    StateIn,
    Suggestion,
    SwapIn,
    TaskIn,
    TaskOut,
    VersionDetail,
    VersionOut,
)

Answer = TypeVar("Answer")
Value = str | int | Sequence[str] | None
"""Of a query; None leaves the parameter out."""

ATTEMPTS = 4
"""How often a request that changes nothing is sent before its failure is reported."""

PASSING = frozenset({429, 502, 503, 504})
"""Statuses that say "not now" and nothing about the request itself."""

# Numbering a large revision re-reads its tensors on the server, which may take a while.
TIMEOUT = httpx2.Timeout(30.0, connect=5.0, read=300.0)


class HubError(Exception):
    """The hub answered with an error. The fields are those of `registry.schemas.ErrorBody`."""

    def __init__(self, body: ErrorBody, *, status: int | None = None) -> None:
        super().__init__(body.message)
        self.status = status
        self.code = body.code
        self.message = body.message
        self.hint = body.hint
        self.problems = tuple(body.problems)
        self.reasons = {slot: tuple(lines) for slot, lines in body.reasons.items()}
        self.choices = {slot: tuple(refs) for slot, refs in body.choices.items()}
        self.use = body.use

    def __str__(self) -> str:
        return self.message


class NotAHub(HubError):
    """Something listens at the endpoint, and it does not speak this interface."""

    def __init__(self, endpoint: str, found: str) -> None:
        message = f"{endpoint} does not answer as an adapter hub does ({found})"
        hint = "is the address right? set it with --endpoint or HUBCTL_ENDPOINT"
        super().__init__(ErrorBody(code="not_a_hub", message=message, error=message, hint=hint))


class HubUnreachable(HubError):
    """Nothing answered at the endpoint, or not in time."""

    def __init__(self, endpoint: str, reason: str) -> None:
        message = f"no hub answers at {endpoint}: {reason}"
        hint = "start one with `hubctl serve`, or name yours with --endpoint or HUBCTL_ENDPOINT"
        super().__init__(ErrorBody(code="no_server", message=message, error=message, hint=hint))


# Bodies of the Hub protocol, which calls adapters repositories.


class _Named(BaseModel):
    name: str


class _Move(BaseModel):
    fromRepo: str  # noqa: N815  (the names on the wire)
    toRepo: str  # noqa: N815


class _Settings(BaseModel):
    visibility: str


class HubClient:
    """One hub, seen by one caller. Use it as a context manager, or close it."""

    def __init__(
        self,
        endpoint: str,
        token: str | None = None,
        *,
        transport: httpx2.BaseTransport | None = None,
        pause: float = 0.3,
    ) -> None:
        """`pause` is the wait, in seconds, before the second attempt; it doubles each time."""
        self.endpoint = endpoint.rstrip("/")
        self.token = token
        self._pause = pause
        self._http = httpx2.Client(
            base_url=self.endpoint,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=TIMEOUT,
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # --- who and how ----------------------------------------------------------------------------

    def health(self) -> dict[str, Any]:
        return self._get("/api/v1/health", dict[str, Any])

    def whoami(self) -> dict[str, Any]:
        """Return the account behind the token, in the Hub's own form (`name`, `orgs`, `auth`)."""
        return self._get("/api/whoami-v2", dict[str, Any])

    # --- adapters and versions ------------------------------------------------------------------

    def adapter(self, name: str) -> AdapterOut:
        return self._get(f"/api/v1/adapters/{_path(name)}", AdapterOut)

    def version(self, name: str, selector: str = "latest") -> VersionDetail:
        """`selector` is a number, `latest`, a range (`^1`), a revision id or a content digest."""
        path = f"/api/v1/adapters/{_path(name)}/versions/{quote(selector, safe='')}"
        return self._get(path, VersionDetail)

    def publish(self, name: str, revision: str, number: str | None = None) -> VersionOut:
        """Number a revision that was uploaded before. Repeating it answers the same version."""
        body = PublishIn(revision=revision, number=number)
        return self._post(f"/api/v1/adapters/{_path(name)}/versions", body, VersionOut)

    def set_state(
        self,
        name: str,
        number: str,
        state: State,
        *,
        successor: str | None = None,
        reason: str | None = None,
    ) -> VersionOut:
        body = StateIn(state=state, successor=successor, reason=reason)
        path = f"/api/v1/adapters/{_path(name)}/versions/{quote(number, safe='')}"
        return self._send_body("PATCH", path, body, VersionOut)

    def remove(self, name: str) -> None:
        """Withdraw an adapter for good."""
        self._send_body("DELETE", "/api/repos/delete", _Named(name=name), dict[str, Any])

    def rename(self, name: str, new_name: str) -> None:
        body = _Move(fromRepo=name, toRepo=new_name)
        self._send_body("POST", "/api/repos/move", body, dict[str, Any])

    def set_visibility(self, name: str, visibility: str) -> None:
        body = _Settings(visibility=visibility)
        self._send_body("PUT", f"/api/models/{_path(name)}/settings", body, dict[str, Any])

    def diff(self, before: str, after: str) -> DiffOut:
        """Compare the versions that two references select."""
        return self._get("/api/v1/diff", DiffOut, {"before": before, "after": after})

    # --- base models ----------------------------------------------------------------------------

    def register_base(self, body: BaseModelIn) -> BaseModelOut:
        return self._post("/api/v1/base-models", body, BaseModelOut)

    def base_models(
        self, *, name: str | None = None, body: str | None = None, full: bool = False
    ) -> list[BaseModelOut]:
        """`full` adds configuration and tensors, by which an adapter folder can be checked."""
        query = {"name": name, "body": body, "full": "true" if full else None}
        return self._get("/api/v1/base-models", list[BaseModelOut], query)

    def fits(self, base: str | BaseIdentity) -> list[FitOut]:
        """List the adapters that stand on a base: by registered name, body digest, or identity."""
        return self._post("/api/v1/base-models/fits", FitsIn(base=base), list[FitOut])

    # --- set-ups --------------------------------------------------------------------------------

    def resolve(self, recipe: Recipe) -> Resolution:
        return self._post("/api/v1/resolve", recipe, Resolution)

    def swap(self, body: SwapIn) -> Resolution:
        return self._post("/api/v1/swap", body, Resolution)

    def matrix(
        self, base: str, *, tasks: Sequence[str] = (), languages: Sequence[str] = ()
    ) -> MatrixOut:
        """Return which task adapters of a base work in which languages."""
        query = {"base": base, "task": list(tasks), "language": list(languages)}
        return self._get("/api/v1/matrix", MatrixOut, query)

    # --- scores ---------------------------------------------------------------------------------

    def record_score(self, body: ScoreIn) -> ScoreOut:
        return self._post("/api/v1/scores", body, ScoreOut)

    def scores(self, subject: str, *, history: bool = False) -> list[ScoreOut]:
        """`subject` is a content digest, a set-up digest or that of an external subject."""
        query = {"subject": subject, "history": "true" if history else None}
        return self._get("/api/v1/scores", list[ScoreOut], query)

    def adapter_scores(self, name: str, *, history: bool = False) -> list[ScoreOut]:
        """Return the scores of all versions of an adapter, and of set-ups that hold one."""
        query = {"history": "true" if history else None}
        return self._get(f"/api/v1/adapters/{_path(name)}/scores", list[ScoreOut], query)

    def retract_score(self, number: int, reason: str) -> ScoreOut:
        body = RetractionIn(reason=reason)
        return self._post(f"/api/v1/scores/{number}/retract", body, ScoreOut)

    def send_evidence(self, sha256: str, file: BinaryIO) -> None:
        """Send the bytes on which a verified score rests."""
        response = self._send("PUT", f"/api/v1/evidence/{sha256}", content=file)
        if not response.is_success:
            raise read_error(self.endpoint, response)

    def spelling(self, score: ScoreIn) -> ScoreIn:
        """Return a score with metric and data set spelt as the hub has them recorded."""
        wanted = names.metric_alias(score.metric)
        metrics = {each: row.name for row in self.metrics() for each in (row.name, *row.aliases)}
        datasets = {row.name.lower(): row.name for row in self.datasets()}
        dataset = score.dataset.strip()
        return score.model_copy(
            update={
                "metric": metrics.get(wanted, score.metric),
                "dataset": datasets.get(dataset.lower(), dataset),
            }
        )

    def leaderboards(
        self, *, dataset: str | None = None, metric: str | None = None
    ) -> list[BoardOut]:
        query = {"dataset": dataset, "metric": metric}
        return self._get("/api/v1/leaderboards", list[BoardOut], query)

    def leaderboard(self, board: BoardKey) -> LeaderboardOut:
        return self._get("/api/v1/leaderboards/board", LeaderboardOut, board.model_dump())

    # --- records and evaluators -----------------------------------------------------------------

    def metrics(self) -> list[MetricOut]:
        return self._get("/api/v1/metrics", list[MetricOut])

    def tasks(self) -> list[TaskOut]:
        return self._get("/api/v1/tasks", list[TaskOut])

    def datasets(self) -> list[DatasetOut]:
        return self._get("/api/v1/datasets", list[DatasetOut])

    def put_metric(self, name: str, body: MetricIn) -> MetricOut:
        return self._send_body("PUT", f"/api/v1/metrics/{_path(name)}", body, MetricOut)

    def put_task(self, name: str, body: TaskIn) -> TaskOut:
        return self._send_body("PUT", f"/api/v1/tasks/{_path(name)}", body, TaskOut)

    def put_dataset(self, name: str, body: DatasetIn) -> DatasetOut:
        return self._send_body("PUT", f"/api/v1/datasets/{_path(name)}", body, DatasetOut)

    def evaluators(self) -> list[EvaluatorKeyOut]:
        return self._get("/api/v1/evaluators", list[EvaluatorKeyOut])

    def register_evaluator(self, body: EvaluatorKeyIn) -> EvaluatorKeyOut:
        return self._post("/api/v1/evaluators", body, EvaluatorKeyOut)

    def decide_evaluator(self, key: str, decision: str) -> EvaluatorKeyOut:
        """`decision` is `approve` or `revoke`."""
        return self._post(f"/api/v1/evaluators/{_path(key)}/{decision}", None, EvaluatorKeyOut)

    # --- accounts -------------------------------------------------------------------------------

    def members(self, organisation: str) -> list[MemberOut]:
        return self._get(_members(organisation), list[MemberOut])

    def set_member(self, organisation: str, user: str, body: MemberIn) -> list[MemberOut]:
        path = _members(organisation, user)
        return self._send_body("PUT", path, body, list[MemberOut])

    def remove_member(self, organisation: str, user: str) -> list[MemberOut]:
        path = _members(organisation, user)
        return self._send_body("DELETE", path, None, list[MemberOut])

    def audit(self, owner: str | None = None, **filters: Value) -> list[AuditOut]:
        """`filters`: action, before, limit. Without an owner, what the caller's account did."""
        return self._get("/api/v1/audit", list[AuditOut], {"owner": owner, **filters})

    # --- search ---------------------------------------------------------------------------------

    def search(self, words: str = "", **filters: Value) -> SearchPage:
        """`filters`: owner, sort (by score: dataset, metric), limit, after; and kind, method, task,
        language, base, licence.

        The latter may be sequences, whose values are alternatives.
        """
        return self._get("/api/v1/search", SearchPage, {"q": words, **filters})

    def suggest(self, prefix: str) -> list[Suggestion]:
        return self._get("/api/v1/suggest", list[Suggestion], {"q": prefix})

    # --- the wire -------------------------------------------------------------------------------

    def _get(
        self, path: str, kind: type[Answer], query: Mapping[str, Value] | None = None
    ) -> Answer:
        asked = {key: value for key, value in (query or {}).items() if value is not None}
        for attempt in range(ATTEMPTS - 1):
            try:
                response = self._send("GET", path, params=asked)
            except HubUnreachable as error:
                if _refused(error):
                    raise  # nobody listens: waiting a second will not change that
                time.sleep(self._pause * 2**attempt)
            else:
                if response.status_code not in PASSING:
                    return self._read(response, kind)
                time.sleep(_wait(response, self._pause * 2**attempt))
        return self._read(self._send("GET", path, params=asked), kind)

    def _post(self, path: str, body: BaseModel | None, kind: type[Answer]) -> Answer:
        return self._send_body("POST", path, body, kind)

    def _send_body(
        self, method: str, path: str, body: BaseModel | None, kind: type[Answer]
    ) -> Answer:
        return self._read(self._send(method, path, **_content(body)), kind)

    def _send(self, method: str, path: str, **parts: Any) -> httpx2.Response:
        try:
            return self._http.request(method, path, **parts)
        except httpx2.TimeoutException as error:
            raise HubUnreachable(self.endpoint, "it did not answer in time") from error
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            raise HubUnreachable(self.endpoint, _reason(error)) from error

    def _read(self, response: httpx2.Response, kind: type[Answer]) -> Answer:
        if not response.is_success:
            raise read_error(self.endpoint, response)
        try:
            return TypeAdapter(kind).validate_json(response.content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the answer"
            raise NotAHub(self.endpoint, f"{where}: {first['msg']}") from error


def read_error(endpoint: str, response: httpx2.Response) -> HubError:
    """Rebuild the error that a hub raised; routes of the Hub protocol send less of it."""
    status = response.status_code
    try:
        return HubError(ErrorBody.model_validate_json(response.read()), status=status)
    except ValidationError:
        message = response.headers.get("X-Error-Message")
    if message is None and "json" not in response.headers.get("Content-Type", ""):
        return NotAHub(endpoint, f"status {status}")
    code = response.headers.get("X-Error-Code") or _code_of(status)
    message = message or f"status {status}: {response.text[:300]}"
    return HubError(ErrorBody(code=code, message=message, error=message), status=status)


def _content(body: BaseModel | None) -> dict[str, Any]:
    if body is None:
        return {}
    # By alias, because the documents call their format `schema`, a word pydantic keeps.
    content = body.model_dump_json(by_alias=True, exclude_none=True)
    return {"content": content, "headers": {"Content-Type": "application/json"}}


def _members(organisation: str, *user: str) -> str:
    return "/".join(["/api/v1/organisations", _path(organisation), "members", *map(_path, user)])


def _path(name: str) -> str:
    return quote(name, safe="/")


def _code_of(status: int) -> str:
    return {401: "not_authenticated", 403: "not_allowed"}.get(status, "registry_error")


def _refused(error: HubUnreachable) -> bool:
    return isinstance(error.__cause__, httpx2.ConnectError | httpx2.InvalidURL)


def _reason(error: Exception) -> str:
    text = str(error).removeprefix("[Errno 111] ").removeprefix("[Errno -2] ")
    return text[:1].lower() + text[1:] if text else type(error).__name__


def _wait(response: httpx2.Response, pause: float) -> float:
    """Return the seconds the server asks for, but never more than ten."""
    asked = response.headers.get("Retry-After", "")
    return min(float(asked), 10.0) if asked.isdigit() else pause
