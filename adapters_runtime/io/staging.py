"""A folder that appears whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def staged(target: Path, owned: Iterable[str]) -> Iterator[Path]:
    """Yield an empty folder whose files replace the `owned` ones in `target` at the end.

    Files of other names stay: a card, say. If the body raises, `target` is untouched.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield folder
        target.mkdir(exist_ok=True)
        written = sorted(folder.iterdir())
        for path in written:
            path.replace(target / path.name)
        for name in set(owned) - {path.name for path in written}:
            (target / name).unlink(missing_ok=True)
    finally:
        shutil.rmtree(folder)
