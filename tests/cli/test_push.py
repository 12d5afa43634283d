"""Pushing a folder: checked first, numbered by what changed, and never half-published."""

import json
import os
import pickle
import subprocess
import sys

import pytest
import transformers

from registry.client import HubClient, HubError
from tests.support import tiny
from tests.support.proxy import proxy
from tests.support.server import running_server
from tests.support.tiny_models import build_tiny

HUBCTL = (sys.executable, "-m", "cli.main")


@pytest.fixture
def folder(tmp_path):
    return tiny.task(tmp_path / "copa")


@pytest.fixture
def api(logged_in):
    with HubClient(logged_in.url, logged_in.token) as client:
        yield client


def versions_of(api, name="ana/copa"):
    try:
        return [version.number for version in api.adapter(name).versions]
    except HubError as error:
        if error.code != "adapter_not_found":
            raise
        return []


def test_a_push_publishes_and_prints_the_reference(api, hubctl, folder):
    ended = hubctl("push", folder, "ana/copa")
    assert (ended.code, ended.out) == (0, "Published ana/copa@1.0.0\n"), ended.err
    detail = api.version("ana/copa")
    assert (detail.number, detail.kind, detail.method) == ("1.0.0", "task", "seq_bn")


def test_what_says_where_the_folder_came_from_stays_here(api, hubctl, folder):
    tiny.write_json(folder / "hub_origin.json", {"ref": "ana/other@1.0.0"})
    hubctl("push", folder, "ana/copa")
    sent = {file.path for file in api.version("ana/copa").files}
    assert "adapter.safetensors" in sent
    assert not sent & {"hub_base.json", "hub_origin.json"}


def test_a_folder_without_a_base_says_how_one_is_registered(api, hubctl, folder):
    """PEFT writes no hub_base.json."""
    (folder / "hub_base.json").unlink()
    ended = hubctl("push", folder, "ana/copa")
    assert ended.code != 0
    assert "`hubctl base register MODEL --name NAME`" in ended.err
    assert versions_of(api) == []


def test_a_base_that_the_hub_does_not_know_is_registered(api, hubctl, folder):
    ended = hubctl("push", folder, "ana/copa")
    assert "Registering the base model tiny-bert" in ended.err
    assert api.base_models(name="tiny-bert")[0].identity.body == tiny.base()["identity"]["body"]
    ended = hubctl("push", tiny.task(folder.parent / "second"), "ana/second")
    assert "Registering" not in ended.err


def test_repeating_a_push_changes_nothing(api, hubctl, folder):
    hubctl("push", folder, "ana/copa")
    for words in ([], ["--number", "1.0.0"]):
        ended = hubctl("push", folder, "ana/copa", *words)
        assert (ended.code, ended.out) == (0, "Was published before: ana/copa@1.0.0\n"), ended.err
    assert versions_of(api) == ["1.0.0"]


def test_the_number_follows_from_what_changed(api, hubctl, folder):
    hubctl("push", folder, "ana/copa")
    (folder / "README.md").write_text("# Choice of plausible alternatives\n")
    assert hubctl("push", folder, "ana/copa", "--json").json["number"] == "1.0.1"
    tiny.task(folder, seed=1)
    assert hubctl("push", folder, "ana/copa", "--json").json["number"] == "1.1.0"
    tiny.task(folder, labels=("false", "true"))
    report = hubctl("push", folder, "ana/copa", "--json").json
    assert report["number"] == "2.0.0"
    assert "labels" in report["reason"]


def test_a_wrong_number_is_refused_with_the_right_one_before_anything_is_sent(api, hubctl, folder):
    hubctl("push", folder, "ana/copa")
    tiny.task(folder, labels=("false", "true"))
    ended = hubctl("push", folder, "ana/copa", "--number", "1.0.1")
    assert ended.code == 3
    assert "use 2.0.0" in ended.err
    assert "Uploading" not in ended.err
    assert versions_of(api) == ["1.0.0"]


def test_a_version_that_exists_is_never_replaced(api, hubctl, folder):
    hubctl("push", folder, "ana/copa")
    before = api.version("ana/copa").content
    tiny.task(folder, seed=1)
    ended = hubctl("push", folder, "ana/copa", "--number", "1.0.0")
    assert ended.code == 3
    assert "already published" in ended.err
    assert api.version("ana/copa").content == before


def test_a_dry_run_sends_nothing(api, hubctl, folder):
    ended = hubctl("push", folder, "ana/copa", "--dry-run")
    assert (ended.code, ended.out) == (0, "Would publish ana/copa@1.0.0\n"), ended.err
    assert versions_of(api) == []
    assert api.base_models(name="tiny-bert") == []


def test_a_dry_run_needs_no_hub(hubctl, folder):
    ended = hubctl("push", folder, "ana/copa", "--dry-run", "--endpoint", "http://127.0.0.1:9")
    assert (ended.code, ended.out) == (0, "Would publish ana/copa@1.0.0\n"), ended.err


def test_a_name_is_found_when_none_is_given(api, hubctl, folder):
    assert hubctl("push", folder).out == "Published ana/copa@1.0.0\n"
    assert hubctl("push", folder, "another").out == "Published ana/another@1.0.0\n"


def test_a_pulled_folder_is_pushed_where_it_came_from(api, hubctl, folder, tmp_path):
    hubctl("push", folder, "ana/copa")
    assert hubctl("pull", "ana/copa", "--to", tmp_path / "mine").code == 0
    (tmp_path / "mine" / "README.md").write_text("# Better words\n")
    assert hubctl("push", tmp_path / "mine").out == "Published ana/copa@1.0.1\n"


def test_private_is_private(logged_in, api, hubctl, folder):
    hubctl("push", folder, "ana/copa", "--private")
    assert api.adapter("ana/copa").visibility == "private"
    with HubClient(logged_in.url) as stranger, pytest.raises(HubError, match="no adapter"):
        stranger.adapter("ana/copa")


def test_a_base_can_be_registered_by_itself_and_listed(api, hubctl, folder):
    assert hubctl("base", "register", folder).out.startswith("Registered tiny-bert\n")
    assert hubctl("base", "register", folder / "hub_base.json", "--json").code == 0
    assert "tiny-bert" in hubctl("base", "list").out
    assert len(hubctl("base", "list", "--name", "tiny-bert", "--json").json) == 1


def test_a_model_can_be_registered_as_a_base(api, hubctl, tmp_path):
    config = transformers.BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        vocab_size=97, max_position_embeddings=64,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(tmp_path / "model")
    ended = hubctl("base", "register", tmp_path / "model", "--name", "lab/small-bert")
    assert ended.code == 0, ended.err
    assert api.base_models(name="lab/small-bert")[0].model_type == "bert"


def test_a_pair_can_be_registered_as_a_base(api, hubctl, tmp_path):
    build_tiny("bert+gpt2").save_pretrained(tmp_path / "model")
    ended = hubctl("base", "register", tmp_path / "model", "--name", "lab/small-pair")
    assert ended.code == 0, ended.err
    assert api.base_models(name="lab/small-pair")[0].model_type == "encoder-decoder"


def test_what_is_no_base_is_said(api, hubctl, tmp_path):
    (tmp_path / "empty").mkdir()
    ended = hubctl("base", "register", tmp_path / "empty")
    assert ended.code == 1
    assert "cannot be loaded as a model" in ended.err


# --- what is refused -----------------------------------------------------------------------------


def truncate(folder):
    weights = folder / "adapter.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def pickled(folder):
    (folder / "adapter.safetensors").unlink()
    (folder / "pytorch_adapter.bin").write_bytes(pickle.dumps({"a": 1}))


def other_base(folder):
    base = tiny.base("wide-bert", width=64)
    tiny.write_json(folder / "hub_base.json", base)
    tiny.edit_json(folder / "hub_adapter.json", base=base["identity"])


def not_an_adapter(folder):
    (folder / "adapter_config.json").unlink()


def broken_json(folder):
    (folder / "adapter_config.json").write_text("{")


def missing_tensors(folder):
    config = json.loads((folder / "adapter_config.json").read_text())["config"]
    tiny.edit_json(folder / "adapter_config.json", config=config | {"reduction_factor": 2})


def broken_base(folder):
    (folder / "hub_base.json").write_text('{"identity": {}}')


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (truncate, "adapter.safetensors"),
        (pickled, "convert"),
        (other_base, "adapter.safetensors"),
        (not_an_adapter, "adapter_config.json"),
        (broken_json, "adapter_config.json"),
        (missing_tensors, "adapter_down"),
        (broken_base, "hub_base.json"),
    ],
)
def test_a_spoilt_folder_is_refused_before_anything_is_sent(api, hubctl, folder, spoil, says):
    spoil(folder)
    ended = hubctl("push", folder, "ana/copa")
    assert ended.code == 1
    assert ended.err.startswith("Error: ")
    assert says in ended.err
    assert versions_of(api) == []


@pytest.mark.parametrize("name", ["Ana/--", "ana/a b", "api/copa", "ana/copa/more", "ana/x..y"])
def test_a_name_that_breaks_the_rules_is_refused(logged_in, hubctl, folder, name):
    ended = hubctl("push", folder, name)
    assert ended.code == 1
    assert ended.err.startswith("Error: ")


def test_files_that_no_hub_takes_are_named_together_before_an_adapter_is_made(api, hubctl, folder):
    (folder / "two words.txt").write_text("x")
    (folder / "run.py").write_text("x")
    for words in (("--dry-run",), ()):
        ended = hubctl("push", folder, "ana/copa", *words)
        assert ended.code == 1
        assert "two words.txt" in ended.err
        assert "run.py" in ended.err
    with pytest.raises(HubError, match="no adapter is called"):
        api.adapter("ana/copa")


def test_a_token_that_no_header_can_carry_is_refused(logged_in, hubctl, folder):
    ended = hubctl("push", folder, "ana/copa", HUBCTL_TOKEN="schlüssel")
    assert ended.code == 4
    assert "cannot be a token" in ended.err


def test_a_missing_folder_is_named(logged_in, hubctl, tmp_path):
    ended = hubctl("push", tmp_path / "nothing", "ana/copa")
    assert ended.code == 1
    assert "nothing is not a folder" in ended.err


def test_no_server_ends_with_five(hubctl, folder):
    assert hubctl("push", folder, "ana/copa", "--endpoint", "http://127.0.0.1:9").code == 5


def test_a_wrong_token_is_not_let_in(api, hubctl, folder):
    ended = hubctl("push", folder, "ana/copa", HUBCTL_TOKEN="hub_wrong")
    assert ended.code == 4
    assert ended.err.splitlines()[-1].startswith("Hint: run `hubctl login`")
    assert versions_of(api) == []


def test_nobody_publishes_in_the_name_of_another(logged_in, hubctl, folder):
    logged_in.add_user("ben")
    ended = hubctl("push", folder, "ben/copa", HUBCTL_TOKEN=logged_in.add_user("eve"))
    assert ended.code == 4
    assert "eve has no write role for ben" in ended.err


# --- a push that is cut --------------------------------------------------------------------------


@pytest.mark.parametrize("moment", [b"/commit/", b"POST /api/v1/adapters"])
def test_a_connection_that_breaks_leaves_nothing_behind(api, logged_in, hubctl, folder, moment):
    with proxy(logged_in.url, moment) as broken:
        ended = hubctl(
            *("push", folder, "ana/copa", "--endpoint", broken.url), HUBCTL_TOKEN=logged_in.token
        )
        assert broken.reached.is_set()
    assert ended.code == 5, ended.err
    assert ended.err.splitlines()[-2].startswith("Error: ")
    assert versions_of(api) == []
    assert hubctl("push", folder, "ana/copa").out == "Published ana/copa@1.0.0\n"


# huggingface_hub's own way of sending bytes.
@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
@pytest.mark.parametrize("moment", [b"PUT /", b"/commit/", b"POST /api/v1/adapters"])
def test_a_client_that_is_killed_leaves_nothing_behind(tmp_path, hubctl, folder, moment):
    # With this limit files of more than a few lines are sent apart from the commit.
    with running_server(tmp_path / "hub", inline_limit=1000) as hub:
        push_and_kill(hub, folder, moment)
        hubctl("login", "--endpoint", hub.url, "--token", hub.token)
        with HubClient(hub.url, hub.token) as api:
            assert versions_of(api) == []
        assert hubctl("push", folder, "ana/copa").out == "Published ana/copa@1.0.0\n"


def push_and_kill(hub, folder, moment):
    """Push in a process of its own, and kill it when its request of that kind is under way."""
    with proxy(hub.url, moment, cut=False) as stalled:
        process = subprocess.Popen(
            [*HUBCTL, "push", folder, "ana/copa", "--endpoint", stalled.url],
            env={**os.environ, "HUBCTL_TOKEN": hub.token},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        reached = stalled.reached.wait(30)
        process.kill()
        _, err = process.communicate()
    assert reached, err.decode()


def test_the_report_is_stable_for_machines(api, hubctl, folder):
    report = hubctl("push", folder, "ana/copa", "--json").json
    assert report["ref"] == "ana/copa@1.0.0"
    assert report["published"] is report["created"] is True
    assert report["content"] == api.version("ana/copa").content
    again = hubctl("push", folder, "ana/copa", "--json").json
    assert (again["ref"], again["created"]) == ("ana/copa@1.0.0", False)
    assert json.dumps(sorted(again)) == json.dumps(sorted(report))
