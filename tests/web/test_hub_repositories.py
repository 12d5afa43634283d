"""Repositories over the Hub protocol, asked by huggingface_hub itself."""

from datetime import timedelta

import pytest
from huggingface_hub.errors import (
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from registry import accounts
from tests.support.waiting import eventually


def test_the_token_tells_who_i_am(hub, api):
    with hub.session() as session:
        ana = accounts.find(session, "ana")
        accounts.create_organisation(session, "lab", admin=ana)
    me = api.whoami()
    assert me["name"] == "ana"
    assert me["auth"]["accessToken"] == {"displayName": "test", "role": "write"}
    assert [(org["name"], org["roleInOrg"]) for org in me["orgs"]] == [("lab", "admin")]


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("hf_abcdefgh", "not one of this hub, whose tokens begin with 'hub_'"),
        ("hub_abcdefgh", "typing error"),
    ],
)
def test_a_token_that_is_no_good_is_told_apart_from_a_missing_repository(hub, api, token, message):
    api.create_repo("ana/x")
    with pytest.raises(HfHubHTTPError, match=message) as caught:
        api.model_info("ana/x", token=token)
    assert caught.value.response.status_code == 401
    assert not isinstance(caught.value, RepositoryNotFoundError)


def test_an_expired_token_is_no_good(hub, api):
    with hub.session() as session:
        ana = accounts.find(session, "ana")
        token = accounts.create_token(session, ana, "old", lifetime=timedelta(seconds=-1))
    with pytest.raises(HfHubHTTPError, match="unknown, expired or revoked"):
        api.model_info("ana/x", token=token)


def test_a_repository_is_created_once(hub, api):
    url = api.create_repo("ana/x")
    assert (str(url), url.repo_id) == (f"{hub.url}/ana/x", "ana/x")
    assert str(api.create_repo("ana/x", exist_ok=True)) == f"{hub.url}/ana/x"
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_repo("ana/x")
    assert caught.value.response.status_code == 409


def test_without_an_owner_a_repository_is_the_callers(api):
    assert api.create_repo("mine").repo_id == "ana/mine"


def test_one_cannot_create_in_the_name_of_others(hub, api):
    hub.add_user("ben")
    with pytest.raises(HfHubHTTPError, match="ana has no write role for ben") as caught:
        api.create_repo("ben/x")
    assert caught.value.response.status_code == 403
    with pytest.raises(HfHubHTTPError, match="no account 'nobody' here"):
        api.create_repo("nobody/x")
    reader = hub.add_user("reader", "read")
    with pytest.raises(HfHubHTTPError, match="this token may only read"):
        api.create_repo("reader/x", token=reader)


def test_names_that_break_the_rules_are_refused(hub):
    with hub.client() as client:
        for name in ("a--b", "a..b", "-a", "a b", "a" * 100, "a.git"):
            answer = client.post("/api/repos/create", json={"name": name})
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid_name"), name


def test_only_adapters_live_here(api):
    with pytest.raises(HfHubHTTPError, match="it has no datasets"):
        api.create_repo("ana/x", repo_type="dataset")
    assert not api.repo_exists("ana/x", repo_type="dataset")


def test_a_private_repository_does_not_exist_for_others(hub, api):
    api.create_repo("ana/secret", private=True)
    api.upload_file(path_or_fileobj=b"x", path_in_repo="a.txt", repo_id="ana/secret")
    stranger = hub.add_user("ben", "admin")
    routes = [
        ("GET", "/api/models/ana/secret"),
        ("GET", "/api/models/ana/secret/revision/main"),
        ("GET", "/api/models/ana/secret/tree/main"),
        ("GET", "/api/models/ana/secret/refs"),
        ("GET", "/api/models/ana/secret/commits/main"),
        ("GET", "/api/models/ana/secret/auth-check"),
        ("GET", "/ana/secret/resolve/main/a.txt"),
        ("HEAD", "/ana/secret/resolve/main/a.txt"),
        ("POST", "/api/models/ana/secret/branch/x"),
        ("DELETE", "/api/models/ana/secret/branch/main"),
        ("DELETE", "/api/models/ana/secret/tag/x"),
        ("POST", "/api/models/ana/secret/commit/main"),
    ]
    for token in ("", stranger):
        with hub.client(token) as client:
            for method, path in routes:
                answer = client.request(method, path)
                assert answer.status_code == 404, (method, path)
                assert answer.headers["X-Error-Code"] == "RepoNotFound"
            assert client.get("/api/models").json() == []
    assert api.model_info("ana/secret").private
    assert [model.id for model in api.list_models()] == ["ana/secret"]


def test_visibility_can_be_changed(hub, api):
    api.create_repo("ana/x")
    api.update_repo_settings("ana/x", visibility="private")
    assert api.model_info("ana/x").private
    assert not api.repo_exists("ana/x", token=False)


def test_access_can_be_checked_without_loading_anything(hub, api):
    api.create_repo("ana/x")
    api.auth_check("ana/x")
    api.auth_check("ana/x", write=True)
    stranger = hub.add_user("ben")
    with pytest.raises(HfHubHTTPError, match="ben has no write role for ana"):
        api.auth_check("ana/x", write=True, token=stranger)
    with pytest.raises(RepositoryNotFoundError):
        api.auth_check("ana/y")


def test_a_moved_repository_is_found_under_its_old_name(api):
    api.create_repo("ana/old")
    api.upload_file(path_or_fileobj=b"x", path_in_repo="a.txt", repo_id="ana/old")
    api.move_repo("ana/old", "ana/new")
    assert api.model_info("ana/old").id == "ana/new"
    assert api.file_exists("ana/old", "a.txt")


def test_a_deleted_name_is_never_free_again(api):
    api.create_repo("ana/x")
    api.delete_repo("ana/x")
    assert not api.repo_exists("ana/x")
    for exist_ok in (False, True):
        with pytest.raises(HfHubHTTPError, match="is taken, or was once") as caught:
            api.create_repo("ana/x", exist_ok=exist_ok)
        assert caught.value.response.status_code == 410


def test_deleting_needs_an_administrators_token(hub, api):
    writer = hub.add_user("ben", "write")
    api.create_repo("ben/x", token=writer)
    with pytest.raises(HfHubHTTPError, match="this token may only write"):
        api.delete_repo("ben/x", token=writer)
    assert api.repo_exists("ben/x")


def test_a_base_model_is_not_here_and_the_error_says_what_to_do(api):
    for name in ("bert-base-uncased", "org/base"):
        with pytest.raises(RepositoryNotFoundError, match=r"endpoint=.*'hubctl pull'"):
            api.hf_hub_download(name, "config.json")
        with pytest.raises(RepositoryNotFoundError, match="holds adapters, not base models"):
            api.model_info(name)


def test_models_are_listed_page_by_page_and_filtered(hub, api, folder):
    with hub.session() as session:
        accounts.create_organisation(session, "lab", admin=accounts.find(session, "ana"))
    names = [f"ana/a{number}" for number in range(5)] + ["lab/b"]
    for name in names:
        api.create_repo(name)
    api.upload_folder(repo_id="ana/a3", folder_path=folder)
    hub.settings.page_size = 2

    assert {model.id for model in api.list_models()} == set(names)
    assert [model.id for model in api.list_models(limit=3)] == ["ana/a3", "lab/b", "ana/a4"]
    assert [model.id for model in api.list_models(author="lab")] == ["lab/b"]
    assert [model.id for model in api.list_models(search="A2")] == ["ana/a2"]
    assert [model.id for model in api.list_models(filter="peft")] == ["ana/a3"]
    assert [model.id for model in api.list_models(filter=["peft", "x"])] == []
    by_age = [model.id for model in api.list_models(sort="created_at")]
    assert by_age == list(reversed(names))
    full = next(api.list_models(filter="peft", full=True, cardData=True))
    assert full.card_data.license == "mit"
    assert "demo" in full.tags


def test_a_cursor_that_is_not_ours_is_refused(hub):
    with hub.client() as client:
        for cursor in ("x", "e30=", "WzEsMV0"):
            assert client.get("/api/models", params={"cursor": cursor}).status_code == 400


def test_a_card_is_checked_before_it_is_committed(hub, api, folder):
    api.create_repo("ana/x")
    with hub.client() as client:
        good = client.post("/api/validate-yaml", json={"content": "---\na: 1\n---\n"})
        bad = client.post("/api/validate-yaml", json={"content": "---\na: [\n---\n"})
    assert good.json() == {"errors": [], "warnings": []}
    assert bad.status_code == 400
    assert "README.md" in bad.json()["errors"][0]["message"]
    (folder / "README.md").write_text("---\na: [\n---\n")
    with pytest.raises(ValueError, match=r"Invalid metadata in README\.md"):
        api.upload_folder(repo_id="ana/x", folder_path=folder)


def test_the_card_and_the_files_describe_a_repository(api, folder):
    api.create_repo("ana/x")
    api.upload_folder(repo_id="ana/x", folder_path=folder)
    info = api.model_info("ana/x", files_metadata=True)
    assert info.card_data.license == "mit"
    assert {"peft", "safetensors", "license:mit", "demo"} <= set(info.tags)
    assert info.library_name == "peft"
    sizes = {file.rfilename: file.size for file in info.siblings}
    assert sizes["empty.txt"] == 0
    assert info.used_storage == sum(sizes.values())


def test_a_revision_that_does_not_exist_is_not_found(api):
    api.create_repo("ana/x")
    assert not api.revision_exists("ana/x", "v9")
    with pytest.raises(RevisionNotFoundError):
        api.model_info("ana/x", revision="v9")


def test_every_answer_has_a_request_id_and_the_log_no_secret(hub, caplog):
    caplog.set_level("INFO", "hub.access")
    with hub.client() as client:
        answer = client.get("/api/whoami-v2", params={"ticket": "confidential"})
    assert eventually(lambda: "whoami" in caplog.text)  # the line follows the answer
    line = next(record for record in caplog.records if "whoami" in record.message)
    assert line.fields["request"] == answer.headers["X-Request-Id"]
    assert line.fields["status"] == 200
    assert hub.token not in caplog.text
    assert "confidential" not in caplog.text


def test_repositories_are_listed_with_what_they_hold(api, folder):
    api.create_repo("ana/x", private=True)
    api.upload_folder(repo_id="ana/x", folder_path=folder)
    (repository,) = api.list_user_repos()
    assert (repository.id, repository.visibility) == ("ana/x", "private")
    assert repository.storage == sum(path.stat().st_size for path in folder.rglob("*.*"))
