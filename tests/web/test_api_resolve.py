"""Set-ups over HTTP: adapters that were really published resolve, swap, or are refused in words."""

import pytest

from registry import base_models, publish, revisions
from registry.schemas import BaseModelIn
from registry.setup import read_lock, setup_digest
from tests.support import shelf, tiny

STACK = {"Stack": ["lang", "task"]}


@pytest.fixture
def published(hub, tmp_path):
    """Publish a folder through the registry: `published("lab/qu", tiny.language, "qu")`."""

    def put(name, make, *args, visibility="public", **changes):
        folder = make(tmp_path / "folders" / name, *args, **changes)
        files = {
            path.name: path.read_bytes()
            for path in folder.iterdir()
            if path.name != "hub_base.json"
        }
        with hub.session() as session:
            account = shelf.owner(session, name.partition("/")[0])
            base_models.register(session, BaseModelIn.model_validate(tiny.base()), account)
            adapter = shelf.add_adapter(
                session, hub.blobs, name, files=files, visibility=visibility
            )
            head = revisions.branch_head(session, adapter, "main")
            publish.publish_revision(session, hub.blobs, adapter, head.id, None, account)

    return put


@pytest.fixture
def stack(published):
    """Packs for two languages, one of another method, and a task adapter for the first kind."""
    published("lab/qu", tiny.language, "qu")
    published("lab/sw", tiny.language, "sw")
    published("lab/sw-double", tiny.language, "sw", "double_seq_bn_inv[reduction_factor=4]")
    published("acme/copa", tiny.task)


def ask(hub, path, token=None, **body):
    with hub.client(token) as client:
        return client.post(f"/api/v1/{path}", json=body)


def recipe(language="qu", **more):
    return {
        "slots": {"lang": {"language": language}, "task": "acme/copa@^1"},
        "setup": STACK,
    } | more


def test_a_recipe_by_need_resolves_to_a_lock(hub, stack):
    answer = ask(hub, "resolve", "", **recipe())

    assert answer.status_code == 200
    lock = read_lock(answer.json()["lock"])
    assert {slot: part.ref for slot, part in lock.slots.items()} == {
        "lang": "lab/qu@1.0.0",
        "task": "acme/copa@1.0.0",
    }
    assert lock.base.name == "tiny-bert"
    assert lock.head == "task"
    assert "adapter.safetensors" in lock.slots["lang"].files
    assert answer.json()["digest"] == setup_digest(lock)
    assert answer.json()["warnings"] == []


def test_the_same_recipe_gives_the_same_bytes(hub, stack):
    assert ask(hub, "resolve", **recipe()).content == ask(hub, "resolve", **recipe()).content


def test_a_swap_changes_the_language_and_nothing_else(hub, stack):
    lock = ask(hub, "resolve", **recipe()).json()["lock"]

    answer = ask(hub, "swap", lock=lock, slots={"lang": {"language": "sw"}})

    swapped = answer.json()["lock"]
    assert swapped["slots"]["lang"]["ref"] == "lab/sw@1.0.0"
    assert {**swapped, "slots": {"task": swapped["slots"]["task"]}} == {
        **lock,
        "slots": {"task": lock["slots"]["task"]},
    }


def test_a_swap_that_breaks_the_contract_is_refused_with_the_reason(hub, stack):
    lock = ask(hub, "resolve", **recipe()).json()["lock"]

    answer = ask(hub, "swap", lock=lock, slots={"lang": "lab/sw-double"})

    assert answer.status_code == 409
    body = answer.json()
    assert body["code"] == "resolution_impossible"
    assert body["message"].startswith("nothing fits: lab/sw-double@1.0.0: R6 contract: beside acme")
    assert any(
        "its method is double_seq_bn, in training it was seq_bn" in reason
        for reason in body["reasons"]["lang"]
    )


def test_a_language_that_nobody_published_is_said_so(hub, stack):
    answer = ask(hub, "resolve", **recipe("fr"))
    assert answer.status_code == 409
    assert answer.json()["message"].startswith("nothing fits the slot 'lang' (language fr)")


def test_equal_adapters_are_listed_to_choose_from(hub, stack, published):
    published("other/qu", tiny.language, "qu")
    answer = ask(hub, "resolve", **recipe())
    assert answer.status_code == 409
    assert answer.json()["choices"] == {"lang": ["lab/qu@1.0.0", "other/qu@1.0.0"]}
    assert answer.json()["hint"] == "name one of them, for example lang=lab/qu@1.0.0"


def test_private_adapters_of_others_show_nowhere(hub, stack, published):
    published("ben/qu", tiny.language, "qu", visibility="private")
    strangers = ask(hub, "resolve", "", **recipe())
    assert strangers.status_code == 200
    assert "ben/qu" not in strangers.text
    missing = ask(hub, "resolve", slots={"lang": "ben/qu"}, setup="lang")
    assert missing.status_code == 404
    assert missing.json()["code"] == "adapter_not_found"


@pytest.mark.parametrize(
    ("changes", "status", "complaint"),
    [
        ({"setup": {"Stak": ["lang"]}}, 422, "exactly one of the keys"),
        ({"setup": {"Stack": ["lang", "ghost"]}}, 422, "nothing fills the slot 'ghost'"),
        ({"base": "no-such-base"}, 404, "no-such-base"),
        ({"base": {"body": "sha256:12"}}, 422, "base"),
        ({"slots": {"lang": {"languag": "qu"}}}, 422, "languag"),
        ({"head": "ghost"}, 422, "nothing fills the slot 'ghost'"),
    ],
)
def test_a_recipe_that_cannot_be_read_is_refused(hub, stack, changes, status, complaint):
    answer = ask(hub, "resolve", **recipe(**changes))
    assert answer.status_code == status
    assert complaint in answer.json()["message"]


def test_a_lock_that_cannot_be_read_is_refused(hub, stack):
    answer = ask(hub, "swap", lock={"slots": {}}, slots={"lang": "lab/sw"})
    assert answer.status_code == 422
    assert answer.json()["message"].startswith("this is not a lock: base: ")
