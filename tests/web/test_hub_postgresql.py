"""The same wire over PostgreSQL, with several clients at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import HfHubHTTPError

from tests.support.postgres import running_postgres
from tests.support.server import running_server
from tests.web.conftest import contents


@pytest.fixture(scope="module")
def postgres():
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def hub(request, tmp_path):
    url = None
    if request.param == "postgresql":
        postgres = request.getfixturevalue("postgres")
        url = postgres.url(postgres.create_database())
    with running_server(tmp_path / "hub", database_url=url) as server:
        yield server


# The client's own habit, not ours.
@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
def test_an_adapter_goes_there_and_back(hub, api, folder):
    hub.settings.inline_limit = 100  # the weights go by LFS, the rest inside the commit
    api.create_repo("ana/x")
    api.upload_folder(repo_id="ana/x", folder_path=folder)
    assert contents(api.snapshot_download("ana/x")) == contents(folder)
    assert [model.id for model in api.list_models(filter="peft", sort="downloads")] == ["ana/x"]
    api.create_tag("ana/x", tag="best")
    api.move_repo("ana/x", "ana/y")
    assert api.model_info("ana/x", revision="best").id == "ana/y"


def test_simultaneous_commits_all_arrive(api):
    """Each adds its file to what is there then; a lost one would be missing at the end."""
    api.create_repo("ana/x")

    def push(number):
        add = CommitOperationAdd(f"{number}.txt", b"%d" % number)
        api.create_commit("ana/x", [add], commit_message=str(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(push, range(16)))

    assert len(api.list_repo_files("ana/x")) == 16
    assert len(api.list_repo_commits("ana/x")) == 17


def test_of_simultaneous_commits_on_one_parent_one_succeeds(api):
    parent = api.model_info(api.create_repo("ana/x").repo_id).sha

    def push(number):
        add = CommitOperationAdd("a.txt", b"%d" % number)
        try:
            api.create_commit("ana/x", [add], commit_message="x", parent_commit=parent)
        except HfHubHTTPError as error:
            return error.response.status_code
        return 200

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(push, range(8)))
    assert sorted(statuses) == [200] + [412] * 7


def test_a_name_is_given_to_one_of_many(api):
    def create(_number):
        try:
            api.create_repo("ana/x")
        except HfHubHTTPError as error:
            return error.response.status_code
        return 200

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(create, range(8)))
    assert sorted(statuses) == [200] + [409] * 7


TOO_LARGE = 2**70
STRANGE = [
    "/api/v1/adapters/ana/%00",
    "/api/v1/adapters/%00/x/versions/main",
    "/api/v1/organisations/%00/members",
    "/api/v1/matrix?base=%00",
    "/api/v1/search?q=%00",
    f"/api/v1/scores/{TOO_LARGE}",
    f"/api/v1/scores/{TOO_LARGE}/evidence",
    f"/api/v1/audit?before={TOO_LARGE}",
    "/%00/x",
    "/search?owner=%00",
]


@pytest.mark.parametrize("address", STRANGE)
def test_what_no_database_can_hold_is_nobodys_bug(hub, address):
    with hub.client() as client:
        answer = client.get(address)
    assert answer.status_code in {200, 404, 422}, answer.text
    if answer.status_code == 422 and "api" in address:
        assert answer.headers["X-Error-Message"].isprintable()
        assert answer.json()["code"] != "internal_error"
