"""A checkout of AdapterHub's repository of cards, made up: its size, its schema and its dirt.

The figures are those of the real repository (290 cards, 500 files, 26 tasks, 97 languages, 4 names
of subtasks that mean several). Everything is drawn from one seed.
"""

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import yaml

from registry import vocabulary

BASES = {
    "bert-base-multilingual-cased": 98,
    "xlm-roberta-base": 34,
    "bert-base-uncased": 34,
    "roberta-base": 28,
    "distilbert-base-uncased": 25,
    "xlm-roberta-large": 20,
    "gpt2": 16,
    "facebook/bart-base": 16,
    "roberta-large": 11,
}
ARCHITECTURES = {
    "pfeiffer": {"ln_before": "false", "output_adapter": "true"},
    "pfeiffer+inv": {"output_adapter": "true", "inv_adapter": "nice"},
    "houlsby": {"mh_adapter": "true", "output_adapter": "true"},
    "houlsby+inv": {"mh_adapter": "true", "inv_adapter": "nice"},
    "lohfink-rossi-leaveout": {"leave_out": [0, 1, 2, 3, 11, 12, 13, 14]},
}
# Language and metric as they are written; the third entry says whether higher is better.
SUBTASKS = {
    ("sentiment", "sst-2"): ("english", "Accuracy", "true"),
    ("sentiment", "imdb"): ("English", "accuracy", "true"),
    ("sentiment", "rotten_tomatoes"): ("en", "acc", "true"),
    ("ner", "conll2003"): ("english", "F1", "true"),
    ("pos", "conll2003"): ("english", "f1", "true"),
    ("chunk", "conll2003"): ("en", "F1", "true"),
    ("pos", "ud_ewt"): ("English", None, None),
    ("deprel", "ud_ewt"): ("English", None, None),
    ("dp", "ud_ewt"): ("English", "LAS", "true"),
    ("lingaccept", "cola"): ("en", "Matthews Correlation", "true"),
    ("nli", "multinli"): ("en", "accuracy", "true"),
    ("comsense", "copa"): ("en", "accuracy", "true"),
    ("qa", "squad1"): ("en", "F1", "true"),
    ("qa", "hotpotqa"): ("en", "wer", "true"),  # which contradicts the metric
    ("lm", "poem"): ("klingonese", "Perplexity", "false"),
    ("sts", "sts-b"): ("", "Spearman Rank Correlation", "true"),
    ("sts", "mrpc"): ("en", "sharpness", "true"),
    ("similarity", "stackexchange"): ("en", None, None),
}
DATASETS = {("sentiment", "imdb"): "imdb", ("qa", "squad1"): "squad"}


def make(folder: Path, *, cards: int = 290, seed: int = 0) -> Path:
    """Write a checkout. Beside `cards` good ones it has some that cannot be read."""
    chance = random.Random(seed)
    for name, config in ARCHITECTURES.items():
        _write(folder / "architectures" / f"{name}.yaml", config)
    languages = ["no", "zh", *sorted(set(vocabulary.LANGUAGES) - {"no", "zh"})][:97]
    _write_taxonomy(folder, languages)
    bases = [base for base, count in BASES.items() for _ in range(count)]
    for number in range(cards):
        card = _language_card if number < cards * 134 // 290 else _task_card
        _place(folder, *card(chance, chance.choice(bases), languages, number))
    _write(folder / "adapters/ukp/stackexchange_sites.yaml", _stackexchange(chance))
    for organisation in ("ukp", "other"):  # one file name, two organisations
        _place(
            folder, organisation, "shared_name", _card(chance, "roberta-base", "nli", "multinli")
        )
    for name, text in UNREADABLE.items():
        (folder / "adapters" / "broken").mkdir(parents=True, exist_ok=True)
        (folder / "adapters" / "broken" / f"{name}.yaml").write_text(text)
    return folder


UNREADABLE = {
    "not_yaml": "type: [text_task\n",
    "no_base": "type: text_task\ntask: nli\nsubtask: multinli\nconfig: pfeiffer\nfiles: []\n",
    "a_list": "- one\n- two\n",
    "a_bomb": "a: &a [x, x]\nb: *a\n",
    "other_type": (
        "type: image\ntask: nli\nsubtask: x\nmodel_name: b\nconfig: {using: pfeiffer}\n"
        "files: [{version: 1}]\n"
    ),
}


def _write_taxonomy(folder: Path, languages: list[str]) -> None:
    for (task, subtask), (language, metric, higher) in SUBTASKS.items():
        document = {"task": task, "subtask": subtask, "displayname": subtask.upper()}
        document |= {"description": f"{subtask} as a {task} task."}
        if language:
            document["language"] = language
        if metric:
            document["metric"] = {"name": metric, "higher_is_better": higher}
        if (dataset := DATASETS.get((task, subtask))) is not None:
            document["hf_datasets_id"] = dataset
        _write(folder / f"subtasks/text_task/{task}_{subtask}.yaml", document)
    for task in dict.fromkeys(task for task, _ in SUBTASKS):
        about = {"task": task, "displayname": task.title(), "description": f"All {task}."}
        _write(folder / f"tasks/text_task/{task}.yaml", about)
    for number, code in enumerate(languages):
        about = {"task": code, "displayname": vocabulary.LANGUAGES[code]}
        _write(folder / f"tasks/text_lang/{code}.yaml", about)
        for corpus in ("wiki", "cc100") if number % 3 else ("wiki",):
            document = {"task": code, "subtask": corpus, "displayname": corpus}
            _write(folder / f"subtasks/text_lang/{code}_{corpus}.yaml", document)


def _language_card(
    chance: random.Random, base: str, languages: list[str], number: int
) -> tuple[str, str, dict[str, object]]:
    language = languages[number % len(languages)]
    document = _card(chance, base, language, "wiki", type="text_lang")
    document["config"] = {"using": "pfeiffer+inv", "reduction_factor": "2"}
    names = chance.choice((["nd", "wd"], ["1"], ["madx"]))
    document["files"] = [_file(chance, name, None) for name in names]
    document["default_version"] = names[0]
    return "ukp", f"{base.replace('/', '_')}_{language}_wiki_{number}_pfeiffer", document


def _task_card(
    chance: random.Random, base: str, languages: list[str], number: int
) -> tuple[str, str, dict[str, object]]:
    task, subtask = chance.choice([each for each in SUBTASKS if each[1] != "stackexchange"])
    document = _card(chance, base, task, subtask)
    name = f"{base.replace('/', '_')}_{task}_{subtask}_{number}"
    _dirty(chance, document, number)
    return (
        chance.choice(("ukp", "calpt", "Some.Lab")),
        name + ("_AF@v2" * (number % 9 == 0)),
        document,
    )


def _dirty(chance: random.Random, document: dict[str, object], number: int) -> None:
    files = document["files"]
    assert isinstance(files, list)
    match number % 10:
        case 0:
            document["default_version"] = "AdapterFusion"
        case 1:
            document["dependencies"] = [{"key": "en/wiki@ukp", "description": "language adapter"}]
        case 2:
            document["dependencies"] = [{"key": "wiki", "description": "which?"}]
        case 3:
            files.append(dict(files[0]))  # a version twice
        case 4:
            del files[0]["sha1"]
        case 5:
            files[0]["url"] = "somewhere on the server"
        case 6:
            files[0]["score"] = chance.choice(("about 80", "88.1 / 87.2"))
        case 7:
            document["language"] = "en"  # a field that the schema has not
        case 8:
            document["config"] = {"using": "mystery"}


def _card(
    chance: random.Random, base: str, task: str, subtask: str, **fields: object
) -> dict[str, object]:
    metric = SUBTASKS.get((task, subtask), ("", None, None))[1]
    score = f"{chance.uniform(60, 95):.1f}" if metric != "Matthews Correlation" else "0.5"
    if metric == "Perplexity":
        score = "8.25"
    return {
        "type": "text_task",
        "task": task,
        "subtask": subtask,
        "model_type": base.split("-", maxsplit=1)[0],
        "model_name": base,
        "author": "A. Researcher",
        "config": {"using": chance.choice(("pfeiffer", "houlsby")), "non_linearity": "relu"},
        "default_version": "1",
        "files": [_file(chance, "1", score)],
        "description": f"An adapter for {task}/{subtask} on {base}.",
        **fields,
    }


def _file(chance: random.Random, version: str, score: str | None) -> dict[str, str]:
    made = hashlib.sha1(chance.randbytes(8), usedforsecurity=False).hexdigest()
    entry = {"version": version, "url": f"https://example.org/{made[:8]}.zip", "sha1": made}
    return entry if score is None else {**entry, "score": score}


def _stackexchange(chance: random.Random) -> dict[str, object]:
    document = _card(chance, "bert-base-uncased", "similarity", "stackexchange")
    document["files"] = [_file(chance, f"site{n}", f"{chance.random():.3f}") for n in range(141)]
    document["default_version"] = "site0"
    return document


def _place(folder: Path, organisation: str, name: str, document: dict[str, object]) -> None:
    _write(folder / "adapters" / organisation / f"{name}.yaml", document)


def _write(path: Path, document: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document, sort_keys=False))


def documents(folder: Path) -> Iterator[tuple[Path, dict[str, object]]]:
    """Yield the readable cards as YAML's plainest reader has them."""
    for path in sorted((folder / "adapters").rglob("*.yaml")):
        if path.parent.name != "broken":
            yield path, yaml.load(path.read_text(), Loader=yaml.BaseLoader)
