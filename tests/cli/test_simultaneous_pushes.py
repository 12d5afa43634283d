"""Eight clients that push at one moment, over HTTP, to hubs that are processes of their own."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from cli import transfer
from cli.credentials import Credentials
from registry.client import HubClient, HubError
from tests.support.packages import HEAD, bert, make_folder, registration
from tests.support.postgres import running_postgres
from tests.support.serving import serving

PUSHES = 8
BASE = bert()
REGISTRATION = registration(BASE)
IDENTITY = REGISTRATION.identity.model_dump()


@pytest.fixture(scope="module")
def postgres():
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def hubs(request, tmp_path):
    """Return what the hub announced; on PostgreSQL two processes serve the same data."""
    environment = {"HUB_SECRET": "s" * 32}
    if request.param == "postgresql":
        postgres = request.getfixturevalue("postgres")
        environment["HUB_DATABASE_URL"] = postgres.url(postgres.create_database())
    with ExitStack() as stack:
        yield [
            stack.enter_context(serving("--data", str(tmp_path / "data"), **environment))[1]
            for _ in range(1 if request.param == "sqlite" else 2)
        ]


@pytest.fixture
def clients(hubs):
    """Eight clients, shared out among the processes; the base of all folders is known."""
    with ExitStack() as stack:
        found = [
            stack.enter_context(HubClient(hub["url"], Credentials().token(hub["url"])))
            for hub in hubs
            for _ in range(PUSHES // len(hubs))
        ]
        found[0].register_base(REGISTRATION)
        yield found


def push_at_once(clients, name, folders, tmp_path):
    """Push as `hubctl push` does, the last step of all at one moment; return the answers."""
    start = threading.Barrier(PUSHES)

    def push(index):
        folder = tmp_path / str(index)
        folder.mkdir()
        folders[index].write(folder)
        files = {path.name: path for path in folder.iterdir()}
        branch = f"incoming/{index}"
        client = clients[index]
        transfer.upload(client, name, files, branch=branch, message="Push", private=False)
        start.wait(60)
        try:
            return client.publish(name, branch, "1.0.0")
        except HubError as error:
            return error

    with ThreadPoolExecutor(PUSHES) as pool:
        return list(pool.map(push, range(PUSHES)))


def folder(seed=0):
    return make_folder(BASE, identity=IDENTITY, head=HEAD, seed=seed)


def test_of_different_contents_under_one_number_one_is_published(hubs, clients, tmp_path):
    name = f"{hubs[0]['account']}/ner"
    answers = push_at_once(clients, name, [folder(seed) for seed in range(PUSHES)], tmp_path)
    refused = [answer for answer in answers if isinstance(answer, HubError)]
    assert [(each.status, each.code) for each in refused] == [(409, "version_exists")] * 7
    (published,) = (answer for answer in answers if not isinstance(answer, HubError))
    assert published.created
    (version,) = clients[-1].adapter(name).versions
    assert version.content == published.content


def test_equal_contents_are_published_once_and_all_succeed(hubs, clients, tmp_path):
    name = f"{hubs[0]['account']}/ner"
    answers = push_at_once(clients, name, [folder()] * PUSHES, tmp_path)
    assert sorted(answer.created for answer in answers) == [False] * 7 + [True]
    assert len({(answer.ref, answer.revision) for answer in answers}) == 1
    assert [each.number for each in clients[-1].adapter(name).versions] == ["1.0.0"]
