"""What came before a revision, and which revision changed a file last."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import PurePosixPath

from sqlalchemy.orm import Session

from registry.models import Revision
from registry.revisions import Tree, tree_of


def ancestry(session: Session, revision: Revision) -> Iterator[Revision]:
    """Yield a revision and its ancestors, the newest first, each looked up when it is asked for."""
    step: Revision | None = revision
    while step is not None:
        yield step
        step = _parent(session, step)


def last_changes(
    session: Session, revision: Revision, paths: Iterable[str], *, depth: int = 1_000
) -> dict[str, Revision]:
    """Return for files and folders the newest revision that changed them, looking back so far."""
    waiting = set(paths)
    found: dict[str, Revision] = {}
    for step in islice(ancestry(session, revision), depth):
        touched = _touched(tree_of(step), tree_of(_parent(session, step)))
        found |= dict.fromkeys(waiting & touched, step)
        waiting -= touched
        if not waiting:
            break
    return found


def _parent(session: Session, revision: Revision) -> Revision | None:
    if revision.parent_id is None:
        return None
    return session.get_one(Revision, (revision.adapter_id, revision.parent_id))


def _touched(one: Tree, other: Tree) -> set[str]:
    """Return the paths that differ, and the folders they lie in."""
    changed = {path for path in one.keys() | other.keys() if one.get(path) != other.get(path)}
    return changed | {str(parent) for path in changed for parent in PurePosixPath(path).parents}
