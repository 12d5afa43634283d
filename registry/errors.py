"""Errors of the registry. Front ends turn them into HTTP statuses or exit codes, never the reverse.

RegistryError
├── InvalidName            a name or reference breaks the rules in `registry.names`
├── InvalidPackage         a folder is not a valid adapter; `problems` names file, tensor or field
├── InvalidBaseModel       a base model's digests, tensors and configuration contradict one another
├── InvalidRecipe          a recipe, lock or set-up expression cannot be read
├── InvalidQuery           a search asks for an order, filter or page that does not exist
├── InvalidScore           a score is not finite, out of bounds, or of an unknown metric
├── ScoreExists            the reporter said another value of the same thing; carries that score
├── ExternalOnly           an adapter known from elsewhere, whose weights are not here
├── AdapterNotFound        no adapter of that name that the caller may see
├── RevisionNotFound       the adapter has no such revision, branch, tag or version
├── VersionWithheld        the version there was, was quarantined or removed
├── FileNotInRevision      the revision has no such file
├── BaseModelNotFound      no base model is registered under that name or digest
├── InvalidPassword        a password is too short or too long
├── AccountNotFound        no user or organisation of that name
├── NameTaken              the name is, or once was, in use
├── VersionExists          published versions are immutable
├── WrongVersionNumber     the number does not match what changed; carries the number to use
├── InvalidState           a version cannot move to that state
├── QuotaExceeded          the owner has no room left
├── StaleParent            the branch has moved since the caller looked
├── UploadRefused          a file's type, path or size is not accepted
├── UploadTooLarge         a file is larger than this way of sending it allows
├── BlobMissing            a file was named whose bytes were not uploaded
├── DigestMismatch         the bytes received are not those announced
├── ValueRefused           the database cannot hold a value: NUL, or a number too large
├── StorageFull            the disk, the bucket or the database takes no more
├── StorageFailed          the disk, the bucket or the database reports an error
├── BackupFailed           a backup is damaged, or there is no empty place to restore it to
├── NotAuthenticated       the token is missing, unknown, expired or revoked
├── NotAllowed             the caller may see the adapter but not do this
├── TooManyAttempts        too many log-ins failed; wait
└── ResolutionImpossible   no set of versions satisfies the recipe; carries the reasons
"""

from collections.abc import Mapping, Sequence


class RegistryError(Exception):
    """Base of every error a caller may want to show to a person."""

    code = "registry_error"
    """Stable identifier sent over the wire; renaming one breaks clients."""

    hint: str | None = None
    """What to do about it, when that is not in the message."""


class InvalidName(RegistryError, ValueError):
    """The name breaks the rules in `registry.names`."""

    code = "invalid_name"


class InvalidPackage(RegistryError, ValueError):
    """A folder or revision is not a valid adapter."""

    code = "invalid_package"

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(tuple(problems))
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "; ".join(self.problems)


class InvalidBaseModel(RegistryError, ValueError):
    """What is said of a base model contradicts itself, or what is registered already."""

    code = "invalid_base_model"


class InvalidRecipe(RegistryError, ValueError):
    """A recipe, lock or set-up expression cannot be read."""

    code = "invalid_recipe"


class InvalidQuery(RegistryError, ValueError):
    """A search asks for an order, a filter or a page that does not exist."""

    code = "invalid_query"


class InvalidScore(RegistryError, ValueError):
    """A score is not finite, out of its metric's bounds, or of an unknown metric."""

    code = "invalid_score"


class ScoreExists(RegistryError):
    """The reporter has said another value of the same thing, and it was not said to replace it."""

    code = "score_exists"

    def __init__(self, score: int, value: float) -> None:
        super().__init__(score, value)
        self.score = score
        self.hint = f"if the new value replaces it, say so: --supersedes {score}"

    def __str__(self) -> str:
        was, score = self.args[1], self.score
        return f"you reported {was:g} at the same conditions before, as score {score}"


class ExternalOnly(RegistryError, LookupError):
    """The adapter is known from elsewhere: it can be found and read about, and never resolves."""

    code = "external_only"

    def __init__(self, name: str, url: str) -> None:
        super().__init__(name, url)
        self.name = name
        self.url = url
        self.hint = (
            f"fetch its weights from {url}, turn them into safetensors with 'hubctl convert', and "
            "publish them under a name of your own with 'hubctl push'"
        )

    def __str__(self) -> str:
        return f"{self.name} is external: its card was imported, its weights are not on this hub"


class AdapterNotFound(RegistryError, LookupError):
    """No adapter of that name, or none that the caller may see: the two look alike on purpose."""

    code = "adapter_not_found"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"no adapter is called {self.name!r} here"


class RevisionNotFound(RegistryError, LookupError):
    """The adapter has no such revision, branch, tag or version."""

    code = "revision_not_found"

    def __init__(self, name: str, revision: str) -> None:
        super().__init__(name, revision)
        self.name = name
        self.revision = revision

    def __str__(self) -> str:
        return f"{self.name} has no revision, branch, tag or version {self.revision!r}"


class VersionWithheld(RevisionNotFound):
    """There was such a version, and an operator or its owner took it back."""

    code = "version_withheld"

    def __init__(self, name: str, number: str, state: str, reason: str | None) -> None:
        super().__init__(name, number)
        self.state = state
        self.reason = reason

    def __str__(self) -> str:
        why = f": {self.reason}" if self.reason else ""
        return f"version {self.revision} of {self.name} was {self.state}{why}"


class FileNotInRevision(RegistryError, LookupError):
    """The revision has no such file."""

    code = "file_not_found"

    def __init__(self, name: str, revision: str, path: str) -> None:
        super().__init__(name, revision, path)
        self.name = name
        self.revision = revision
        self.path = path

    def __str__(self) -> str:
        return f"{self.name} has no file {self.path!r} at {self.revision}"


class BaseModelNotFound(RegistryError, LookupError):
    """No base model is registered under that name or digest."""

    code = "base_model_not_found"


class InvalidPassword(RegistryError, ValueError):
    """A password is too short or too long."""

    code = "invalid_password"


class AccountNotFound(RegistryError, LookupError):
    """No user or organisation is called so."""

    code = "account_not_found"


class NameTaken(RegistryError):
    """The name is in use, or was: names are not reused, so old references never change meaning."""

    code = "name_taken"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"the name {self.name!r} is taken, or was once; choose another"


class VersionExists(RegistryError):
    """A published version never changes; publish a new one instead."""

    code = "version_exists"

    def __init__(self, name: str, number: str) -> None:
        super().__init__(name, number)
        self.name = name
        self.number = number

    def __str__(self) -> str:
        return (
            f"{self.name} {self.number} is already published with other content; "
            "publish a higher version"
        )


class WrongVersionNumber(RegistryError, ValueError):
    """The number does not match what changed since the version below it."""

    code = "wrong_version_number"

    def __init__(self, number: str, *, reason: str, use: str) -> None:
        super().__init__(number, reason, use)
        self.number = number
        self.reason = reason
        self.use = use

    def __str__(self) -> str:
        return (
            f"{self.number} is not the right number: {self.reason}; use {self.use} or a larger step"
        )


class InvalidState(RegistryError, ValueError):
    """A version cannot move to that state, or not by this account."""

    code = "invalid_state"


class QuotaExceeded(RegistryError):
    """The owner has no room left for this."""

    code = "quota_exceeded"

    hint = "remove what is not needed, or ask an operator of the hub for more room"


class StaleParent(RegistryError):
    """The branch has moved since the caller looked at it."""

    code = "stale_parent"


class UploadRefused(RegistryError, ValueError):
    """A file's type, path or size is not accepted."""

    code = "upload_refused"


class UploadTooLarge(UploadRefused):
    """A file is larger than this way of sending it allows."""

    code = "upload_too_large"


class BlobMissing(RegistryError):
    """A commit names a file whose bytes were not uploaded to this adapter."""

    code = "blob_missing"


class DigestMismatch(RegistryError, ValueError):
    """The bytes received are not those announced: the upload was cut or changed on its way."""

    code = "digest_mismatch"


class ValueRefused(RegistryError, ValueError):
    """The database cannot hold a value: PostgreSQL's texts have no NUL character."""

    code = "value_refused"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the hub's database cannot hold a value of this request ({self.reason})"


class StorageFailed(RegistryError):
    """What keeps bytes or rows reported an error; what was being written is not there."""

    code = "storage_failed"
    hint = "try again; if it stays so, tell the hub's operator"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the hub's storage failed ({self.reason}); nothing was changed"


class StorageFull(StorageFailed):
    """There is no room left."""

    code = "storage_full"
    hint = "tell the hub's operator that it needs room, then do the same again"

    def __str__(self) -> str:
        return f"the hub has no room left ({self.reason}); nothing was changed"


class BackupFailed(RegistryError):
    """A backup is damaged or incomplete, or the place to restore it to is not empty."""

    code = "backup_failed"


class NotAuthenticated(RegistryError):
    """The token is missing, unknown, expired or revoked."""

    code = "not_authenticated"


class NotAllowed(RegistryError):
    """The caller may see the adapter but not do this to it."""

    code = "not_allowed"


class TooManyAttempts(RegistryError):
    """Too many log-ins failed; `wait` is how many seconds to wait."""

    code = "too_many_attempts"

    def __init__(self, wait: int) -> None:
        super().__init__(wait)
        self.wait = wait

    def __str__(self) -> str:
        return f"too many log-ins failed; try again in {max(self.wait // 60, 1)} minutes"


class ResolutionImpossible(RegistryError):
    """No set of versions satisfies the recipe.

    `reasons` maps a slot to what was found wrong with each candidate, in words for a person;
    `choices` lists, for an ambiguous slot, the references between which the caller must choose.
    """

    code = "resolution_impossible"

    def __init__(
        self,
        summary: str,
        *,
        reasons: Mapping[str, Sequence[str]] | None = None,
        choices: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__(summary)
        self.summary = summary
        self.reasons = {slot: tuple(lines) for slot, lines in (reasons or {}).items()}
        self.choices = {slot: tuple(refs) for slot, refs in (choices or {}).items()}

    def __str__(self) -> str:
        return self.summary
