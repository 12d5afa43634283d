"""Pulling an adapter or a set-up: verified, whole, and explained when it cannot be."""

import errno
import hashlib
import json
import shutil
from pathlib import Path

import pytest

from cli import folders, transfer
from registry import strictjson
from registry.schemas import Lock
from registry.setup import setup_digest
from tests.support import tiny
from tests.support.commands import run
from tests.support.server import running_server


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A hub with one task adapter, packs for Quechua and Swahili, and one that cannot fit."""
    source = tmp_path_factory.mktemp("source")
    made = {
        "ana/copa": tiny.task(source / "copa"),
        "ana/qu-wiki": tiny.language(source / "qu", "qu"),
        "ana/sw-wiki": tiny.language(source / "sw", "sw"),
        "ana/de-lora": tiny.language(source / "de", "de", "lora"),
    }
    with running_server(source / "hub") as hub:
        for name, folder in made.items():
            words = ("push", folder, name, "--endpoint", hub.url)
            ended = run(*words, HUBCTL_TOKEN=hub.token)
            assert ended.code == 0, ended.err
        yield hub, source


@pytest.fixture
def stocked(shop, hubctl):
    """That hub, with `hubctl` logged in to it. Tests only add what no other looks at."""
    hub, _ = shop
    hubctl("login", "--endpoint", hub.url, "--token", hub.token)
    return hub


@pytest.fixture
def source(shop):
    """The folders that were pushed."""
    return shop[1]


@pytest.fixture
def setup(stocked, hubctl, tmp_path):
    target = tmp_path / "setup"
    ended = hubctl("pull", "--task", "ana/copa", "--language", "qu", "--to", target)
    assert ended.code == 0, ended.err
    return target


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# --- one adapter ---------------------------------------------------------------------------------


def test_an_adapter_arrives_as_it_was_pushed(stocked, hubctl, tmp_path, source):
    target = tmp_path / "got"
    ended = hubctl("pull", "ana/copa@^1", "--to", target)
    assert ended.code == 0, ended.err
    assert ended.out == f"Pulled ana/copa@1.0.0 into {target}\n"
    for name in ("adapter.safetensors", "adapter_config.json", "hub_adapter.json"):
        assert (target / name).read_bytes() == (source / "copa" / name).read_bytes()
    origin = json.loads((target / "hub_origin.json").read_text())
    assert origin["ref"] == "ana/copa@1.0.0"
    assert origin["endpoint"] == stocked.url


def test_the_report_lists_every_file_with_its_digest(stocked, hubctl, tmp_path):
    report = hubctl("pull", "ana/copa", "--to", tmp_path / "got", "--json").json
    for file in report["files"]:
        content = (tmp_path / "got" / file["path"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file["size"], file["sha256"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["ana/none"], "no adapter is called 'ana/none'"),
        (["ana/copa@9.9.9"], "9.9.9"),
        (["copa"], "not of the form owner/adapter"),
        (["ana/copa@newest"], "selects no version"),
    ],
)
def test_what_is_not_there_is_said_and_nothing_is_written(stocked, hubctl, tmp_path, words, says):
    ended = hubctl("pull", *words, "--to", tmp_path / "got")
    assert ended.code == 1
    assert says in ended.err
    assert not (tmp_path / "got").exists()


def test_an_existing_folder_is_kept_unless_forced(stocked, hubctl, tmp_path):
    target = tmp_path / "got"
    hubctl("pull", "ana/copa", "--to", target)
    assert "not empty" in hubctl("pull", "ana/qu-wiki", "--to", target).err
    assert hubctl("pull", "ana/qu-wiki", "--to", target, "--force").code == 0
    assert not (target / "head_config.json").exists()


def test_a_damaged_copy_in_the_cache_is_fetched_again(stocked, hubctl, tmp_path, own_settings):
    hubctl("pull", "ana/copa", "--to", tmp_path / "first")
    for blob in (own_settings / "hf").rglob("blobs/*"):
        blob.write_bytes(b"x" * blob.stat().st_size)
    assert hubctl("pull", "ana/copa", "--to", tmp_path / "second").code == 0
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


def test_a_full_disk_under_the_cache_is_said(stocked, hubctl, tmp_path, monkeypatch):
    def full(*_words, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(transfer.huggingface_hub(), "snapshot_download", full)
    ended = hubctl("pull", "ana/copa", "--to", tmp_path / "got")
    assert ended.code == 1
    assert "cannot write to the cache" in ended.err
    assert "HF_HOME" in ended.err
    assert not (tmp_path / "got").exists()


def test_a_full_disk_under_the_folder_is_not_blamed_on_the_cache(
    stocked, hubctl, tmp_path, monkeypatch
):
    def full(source, _target):
        raise OSError(errno.ENOSPC, "No space left on device", str(source))

    monkeypatch.setattr("shutil.copyfile", full)
    ended = hubctl("pull", "ana/copa", "--to", tmp_path / "got")
    assert ended.code == 1
    assert "--to" in ended.err
    assert not list(tmp_path.iterdir())


def test_damage_on_the_server_is_noticed(logged_in, hubctl, tmp_path):
    """The server's own disk may fail: a stock client would load whatever came."""
    folder = tiny.task(tmp_path / "copa")
    hubctl("push", folder)
    weights = (folder / "adapter.safetensors").read_bytes()
    digest = hashlib.sha256(weights).hexdigest()
    blob = next(
        path
        for path in Path(logged_in.settings.data).rglob("*")
        if path.is_file() and digest in path.as_posix().replace("/", "")
    )
    blob.chmod(0o644)
    blob.write_bytes(b"\0" * len(weights))
    ended = hubctl("pull", "ana/copa", "--to", tmp_path / "got")
    assert ended.code == 1
    assert "adapter.safetensors arrived damaged" in ended.err
    assert not (tmp_path / "got").exists()


# --- set-ups -------------------------------------------------------------------------------------


def test_a_task_in_a_language_is_one_command(setup):
    lock = json.loads((setup / folders.LOCK).read_text())
    assert {slot: pinned["ref"] for slot, pinned in lock["slots"].items()} == {
        "lang": "ana/qu-wiki@1.0.0",
        "task": "ana/copa@1.0.0",
    }
    assert lock["head"] == "task"
    assert (setup / folders.LOCK).read_bytes() == strictjson.canonical(lock)
    for slot in lock["slots"]:
        assert (setup / slot / "adapter.safetensors").is_file()
        assert json.loads((setup / slot / folders.ORIGIN).read_text())["ref"].startswith("ana/")


def test_the_composition_is_written_as_adapterhub_writes_it(setup):
    document = json.loads((setup / folders.SETUP).read_text())
    assert document["adapter_setup"] == {
        "type": "Stack",
        "children": [
            {"type": "single", "children": ["lang"]},
            {"type": "single", "children": ["task"]},
        ],
    }
    assert document["head_setup"] == "task"


def test_a_typed_set_up_gives_the_same_lock(setup, hubctl, tmp_path):
    other = tmp_path / "typed"
    text = "Stack(lang:qu, ana/copa@^1)"
    ended = hubctl("pull", "--base", "tiny-bert", text, "--to", other)
    assert ended.code == 0, ended.err
    assert (other / folders.LOCK).read_bytes() == (setup / folders.LOCK).read_bytes()


def test_a_recipe_and_a_lock_can_be_pulled_again(setup, hubctl, tmp_path):
    for option, file in (("--recipe", folders.RECIPE), ("--lock", folders.LOCK), ("--lock", ".")):
        other = tmp_path / f"again{option}{file}"
        ended = hubctl("pull", option, setup / file, "--to", other)
        assert ended.code == 0, ended.err
        assert (other / folders.LOCK).read_bytes() == (setup / folders.LOCK).read_bytes()
        assert (other / "task" / "adapter.safetensors").is_file()


def test_resolve_prints_what_pull_would_lock(setup, hubctl):
    words = ("resolve", "--task", "ana/copa", "--language", "qu")
    lock = hubctl(*words, "--json").json
    assert strictjson.canonical(lock) == (setup / folders.LOCK).read_bytes()
    shown = hubctl(*words).out
    assert "ana/qu-wiki@1.0.0" in shown
    assert setup_digest(Lock.model_validate(lock)) in shown


def test_a_set_up_that_cannot_be_is_explained(stocked, hubctl, tmp_path):
    ended = hubctl("pull", "--task", "ana/copa", "--language", "fi", "--to", tmp_path / "none")
    assert ended.code == 3
    assert "lang" in ended.err
    assert not (tmp_path / "none").exists()
    failed = hubctl("resolve", "--task", "ana/copa", "--language", "fi", "--json")
    assert failed.json["error"]["code"] == "resolution_impossible"


def test_a_typing_error_in_a_set_up_shows_the_column(stocked, hubctl):
    ended = hubctl("resolve", "Stack(lang:qu ana/copa)")
    assert ended.code == 1
    assert "column" in ended.err


# --- swapping ------------------------------------------------------------------------------------


def test_a_swap_replaces_the_language_and_nothing_else(setup, hubctl):
    before = contents(setup)
    ended = hubctl("swap", setup, "--language", "sw")
    assert ended.code == 0, ended.err
    assert "replaced by ana/sw-wiki@1.0.0" in ended.out
    assert "unchanged" in ended.out
    after = contents(setup)
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert {path for path in changed if path.startswith("task/")} == set()
    assert "lang/adapter.safetensors" in changed
    assert {path for path in changed if "/" not in path} == {folders.LOCK, folders.RECIPE}


def test_swapping_back_gives_the_same_lock(setup, hubctl):
    before = (setup / folders.LOCK).read_bytes()
    hubctl("swap", setup, "--language", "sw")
    hubctl("swap", setup, "--slot", "lang=ana/qu-wiki@1.0.0")
    assert (setup / folders.LOCK).read_bytes() == before


def test_a_swap_to_what_is_there_changes_nothing(setup, hubctl):
    before = contents(setup)
    ended = hubctl("swap", setup, "--language", "qu", "--json")
    assert ended.json["changed"] == {}
    assert contents(setup) == before


def test_a_refused_swap_explains_and_leaves_the_folder_untouched(setup, hubctl):
    before = contents(setup)
    ended = hubctl("swap", setup, "--language", "de")
    assert ended.code == 3
    assert ended.err.startswith("Error: ")
    assert "ana/de-lora@1.0.0" in ended.err
    assert "seq_bn" in ended.err
    assert contents(setup) == before


def test_a_slot_that_was_changed_by_hand_is_mended_by_the_next_swap(setup, hubctl):
    weights = setup / "task" / "adapter.safetensors"
    original = weights.read_bytes()
    weights.unlink()
    weights.write_bytes(b"spoilt")
    assert hubctl("swap", setup, "--language", "sw").code == 0
    assert weights.read_bytes() == original


def test_what_was_changed_by_hand_is_moved_aside_by_a_swap_and_never_deleted(setup, hubctl):
    for word in ("trained", "trained again"):
        (setup / "task" / "adapter.safetensors").unlink()
        (setup / "task" / "adapter.safetensors").write_text(word)
        (setup / "lang" / "notes.txt").write_text(word)
        ended = hubctl("swap", setup, "--language", "sw" if word == "trained" else "qu")
        assert ended.code == 0, ended.err
        assert "task held files that were changed by hand" in ended.err
    kept = [setup / name / "adapter.safetensors" for name in ("task.changed", "task.changed2")]
    assert [path.read_text() for path in kept] == ["trained", "trained again"]
    assert (setup / "lang.changed" / "notes.txt").read_text() == "trained"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 2, "Say what to replace"),
        (["--slot", "lang"], 2, "NAME=WHAT"),
        (["--slot", "nope=lang:sw"], 1, "no slot 'nope'"),
        (["--language", "Swahili"], 1, "BCP-47"),
    ],
)
def test_a_swap_that_is_called_wrongly_says_how(setup, hubctl, words, code, says):
    ended = hubctl("swap", setup, *words)
    assert ended.code == code
    assert says in ended.err


def test_a_moved_set_up_still_knows_its_hub(setup, hubctl, tmp_path, own_settings):
    stored = own_settings / "credentials.json"
    kept = json.loads(stored.read_text())
    stored.write_text(json.dumps(kept | {"last": "http://127.0.0.1:9"}))
    moved = tmp_path / "elsewhere"
    shutil.move(setup, moved)
    assert hubctl("swap", moved, "--language", "sw").code == 0


# --- scores --------------------------------------------------------------------------------------


def test_a_score_of_a_set_up_is_recorded_and_shown(setup, hubctl):
    add = ("scores", "add", setup, "--dataset", "xcopa", "--config", "qu", "--language", "qu")
    measured = ("--metric", "accuracy", "--value", "0.562", "--n", "500", "--stderr", "0.022")
    ended = hubctl(*add, *measured, "--condition", "zero_shot=true", "--json")
    assert ended.code == 0, ended.err
    assert ended.json["conditions"] == {"zero_shot": True}
    shown = hubctl("scores", setup).out
    assert "0.562" in shown
    assert "ana/qu-wiki" in shown
    assert "0.562" in hubctl("scores", "ana/copa").out


@pytest.mark.parametrize(
    "measured",
    [("accuracy", "56.2"), ("accuracy", "nan"), ("vibes", "0.5")],
)
def test_a_score_that_means_nothing_is_refused(setup, hubctl, measured):
    metric, value = measured
    ended = hubctl(
        "scores", "add", setup, "--dataset", "xcopa", "--metric", metric, "--value", value
    )
    assert ended.code == 1
    assert ended.err.startswith("Error: ")


# --- finding -------------------------------------------------------------------------------------


def test_search_finds_what_was_pushed(stocked, hubctl):
    assert "ana/qu-wiki" in hubctl("search", "--language", "qu").out
    hits = hubctl("search", "--kind", "language", "--json").json["hits"]
    assert {hit["name"] for hit in hits} >= {"ana/qu-wiki", "ana/sw-wiki"}


def test_info_tells_the_contract_in_words(stocked, hubctl):
    shown = hubctl("info", "ana/copa").out
    assert "seq_bn in layers 0-1, at the output, with a NICE invertible part" in shown
    assert "no, yes" in shown
    assert "1.0.0" in shown
    assert hubctl("info", "ana/copa", "--json").json["version"]["number"] == "1.0.0"
