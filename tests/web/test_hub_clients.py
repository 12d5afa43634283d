"""Programs as they are installed, each in its own process, with only HF_ENDPOINT set to our hub."""

import json
import shutil
from pathlib import Path

from safetensors.numpy import load_file

from tests.web.conftest import contents

PEFT = Path(__file__).parents[1] / "data" / "peft"

ADAPTED = """
import sys
import torch
from peft import PeftModel
from safetensors.torch import save_file
from transformers import AutoModel

base, *pairs = sys.argv[1:]
for adapter, output in zip(pairs[::2], pairs[1::2]):
    model = PeftModel.from_pretrained(AutoModel.from_pretrained(base), adapter).eval()
    tokens = torch.arange(24).reshape(2, 12)
    with torch.no_grad():
        result = {"output": model(input_ids=tokens).last_hidden_state}
    result |= {name: value.clone() for name, value in model.state_dict().items()}
    save_file(result, output)
"""


def test_peft_loads_from_the_hub_what_it_loads_from_disk(api, run_python, tmp_path):
    """Bit for bit: every weight, and what the model puts out."""
    cases = {"lora_plain_bert": "ana/lora", "ia3_bert": "ana/ia3"}
    arguments = []
    for case, repo in cases.items():
        api.create_repo(repo)
        api.upload_folder(repo_id=repo, folder_path=PEFT / case)
        arguments += [repo, tmp_path / f"{case}.hub", PEFT / case, tmp_path / f"{case}.disk"]

    run_python(ADAPTED, PEFT / "base", *arguments)

    for case, repo in cases.items():
        from_hub = load_file(tmp_path / f"{case}.hub")
        from_disk = load_file(tmp_path / f"{case}.disk")
        assert from_hub.keys() == from_disk.keys()
        assert len(from_hub) > 30
        for name in from_hub:
            assert from_hub[name].tobytes() == from_disk[name].tobytes(), name
        assert api.model_info(repo).downloads == 1


def test_a_base_model_that_is_asked_of_us_is_refused_with_advice(run_python):
    code = "from transformers import AutoModel; AutoModel.from_pretrained('bert-base-uncased')"
    result = run_python(code, check=False)
    assert result.returncode != 0
    assert "bert-base-uncased" in result.stderr
    assert "This hub holds adapters, not base models" in result.stderr


def test_the_hf_command_uploads_lists_and_downloads(hf, folder, tmp_path):
    assert "ana" in hf("auth", "whoami").stdout
    hf("repos", "create", "ana/x", "--private")
    hf("upload", "ana/x", folder, ".", "--commit-message", "By hand")
    listed = json.loads(hf("models", "ls", "--author", "ana", "--json").stdout)
    assert [(model["id"], model["private"]) for model in listed] == [("ana/x", True)]
    hf("repos", "tag", "create", "ana/x", "first")
    target = tmp_path / "loaded"
    hf("download", "ana/x", "--revision", "first", "--local-dir", target)
    assert contents(target) == contents(folder)
    hf("repos", "delete-files", "ana/x", "notes/*")
    hf("repos", "move", "ana/x", "ana/y")
    shutil.rmtree(target)
    hf("download", "ana/y", "--local-dir", target)
    assert "notes/one.txt" not in contents(target)
    hf("repos", "delete", "ana/y", "--yes")
    gone = hf("download", "ana/y", check=False)
    assert gone.returncode != 0
    assert "not found" in gone.stderr.lower()


def test_a_pickle_is_refused_in_one_line_that_helps(hf, folder):
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x02}q\x00.")
    hf("repos", "create", "ana/x")
    refused = hf("upload", "ana/x", folder, ".", check=False)
    assert refused.returncode != 0
    assert "use_safetensors=True" in refused.stderr
