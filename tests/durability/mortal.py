"""A hub whose server is killed or refused by its disk, and what must be true of it then."""

import json
import socket
import subprocess
import sys
import time

from sqlalchemy import func, select

from registry import accounts, db, gc, scrub
from registry.blobs import FolderBlobs
from registry.models import Adapter, Blob, Ref, Version
from registry.settings import Settings
from tests.support.packages import HEAD, bert, make_folder, registration

BASE = bert()
PROGRAM = (sys.executable, "-m", "tests.support.mortal_server")


class Mortal:
    """A hub whose server is killed again and again; its data outlives it."""

    def __init__(self, hubctl, folder, url):
        self.hubctl, self.folder = hubctl, folder
        self.settings = Settings(data=folder / "hub", database_url=url)
        self.engine = db.connect(self.settings.database)
        db.migrate(self.engine)
        self.blobs = FolderBlobs(self.settings.data / "blobs")
        with db.sessions(self.engine).begin() as session:
            ana = accounts.create_user(session, "ana")
            self.token = accounts.create_token(session, ana, "test", "admin", lifetime=None)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.program = self._start(url)
        self.pushes = 0

    def _start(self, url):
        settings = {
            "data": str(self.settings.data),
            "database_url": url,
            "secret": "s" * 32,
            "migrate_on_start": False,
            "inline_limit": 1_000,  # the weights go beside the commit, the rest in it
        }
        number = self.listener.fileno()
        return subprocess.Popen(
            [*PROGRAM, str(number), json.dumps(settings)],
            pass_fds=[number], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def close(self):
        self.program.stdin.close()
        self.program.wait(30)
        self.program.stdout.close()
        self.listener.close()
        self.engine.dispose()

    def live(self, **life):
        """Begin a new life of the server; returns its process id."""
        self.program.stdin.write(json.dumps(life) + "\n")
        self.program.stdin.flush()
        return int(self.program.stdout.readline())

    def next_folder(self):
        """A new adapter of a new base, so that a push does everything there is to do."""
        self.pushes += 1
        known = registration(BASE, f"tiny/bert-{self.pushes}", seed=self.pushes)
        made = make_folder(BASE, identity=known.identity.model_dump(), head=HEAD, seed=self.pushes)
        folder = made.write(self.folder / f"adapter-{self.pushes}")
        (folder / "hub_base.json").write_text(known.model_dump_json())
        return folder

    def push(self, folder):
        words = ("push", folder, f"ana/{folder.name}", "--endpoint", self.url, "--json")
        return self.hubctl(*words, HUBCTL_TOKEN=self.token)

    def cycle(self, folder, **life):
        """Push to a server that dies meanwhile, and again; returns whether the first one failed."""
        self.live(**life)
        first = self.push(folder)
        self.nothing_is_half_published(folder)
        again = self.push(folder)
        assert again.code == 0, again.err
        assert self.nothing_is_half_published(folder) == 1
        return first.code != 0

    def nothing_is_half_published(self, folder):
        """Read what is visible from disk; returns how many versions there are."""
        found = 0
        with db.reading_sessions(self.engine).begin() as session:
            query = select(Version).join(Adapter).where(Adapter.name == f"ana/{folder.name}")
            for version in session.scalars(query):
                found += 1
                for path, facts in version.manifest.document["files"].items():
                    sha256 = facts["sha256"].removeprefix("sha256:")
                    assert self.blobs.read(sha256) == (folder / path).read_bytes()
        return found

    def the_rest_goes(self):
        """Collect, beside the server; what is left is exactly what the rows name, and sound."""
        gc.collect(self.engine, self.blobs, gc.GRACE * 0)
        done = scrub.scrub(self.engine, self.blobs)
        assert done.faults == []
        assert done.versions == self.pushes
        with db.reading_sessions(self.engine).begin() as session:
            rows = set(session.scalars(select(Blob.sha256)))
            incoming = select(func.count()).where(Ref.name.startswith("incoming/"))
            assert session.scalar(incoming) == 0
        assert {entry.sha256 for entry in self.blobs.entries()} == rows
        files = {path.name for path in self.blobs.folder.rglob("*") if path.is_file()}
        assert files == rows


def record(mortal, tmp_path):
    """Push once to a server that writes down its steps; returns them, and how long it took."""
    log = tmp_path / "steps"
    mortal.live(record=str(log))
    began = time.monotonic()
    ended = mortal.push(mortal.next_folder())
    assert ended.code == 0, ended.err
    return log.read_text().splitlines(), time.monotonic() - began
