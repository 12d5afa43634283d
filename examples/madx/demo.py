"""The main job, end to end: train, publish, find, pull by need, swap the language, measure.

usage: [DEMO_PER_CLASS=N] demo.py [FOLDER] [--steps N] [--epochs N]

Everything goes into FOLDER (default ./demo-hub): the hub's store, and what is trained. Runs on this
machine alone; no model and no data set is fetched.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from measures import bag_of_words, interval, paired_interval
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from settings import HERE, LANGUAGES, SOURCE, TARGETS, TASK_SEEDS, TEST_PER_CLASS, TEST_SEED
from text import examples

NAMES = {"en": "English", "de": "German", "fr": "French"}
HUBCTL = str(Path(sys.executable).with_name("hubctl"))
console = Console()


class Failed(Exception):
    """A step did not do what it should; its output says why."""


# --- running things


def script(name: str, *arguments: object) -> list[str]:
    return [sys.executable, str(HERE / name), *map(str, arguments)]


def hubctl(*arguments: object, refused: bool = False) -> dict[str, Any]:
    """Run hubctl and return the JSON document it prints; `refused`: it must exit with 3."""
    command = [HUBCTL, *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != (3 if refused else 0):
        raise Failed(f"hubctl {' '.join(map(str, arguments))}: {done.stdout}{done.stderr}")
    return {} if refused else json.loads(done.stdout)


def say_and_run(*arguments: object, refused: bool = False) -> None:
    """Show a hubctl command and what it prints."""
    console.print(f"\n[bold]$ hubctl {' '.join(map(str, arguments))}[/]", highlight=False)
    done = subprocess.run(
        [HUBCTL, *map(str, arguments)],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    console.print(done.stdout.rstrip(), markup=False, highlight=False, soft_wrap=True)
    if done.returncode != (3 if refused else 0):
        raise Failed(f"hubctl ended with {done.returncode}")


def run_side_by_side(jobs: dict[str, list[str]]) -> None:
    """Run scripts, one per core at a time, with a bar for each from the lines it prints."""
    columns = (TextColumn("{task.description:28}"), BarColumn(), TextColumn("{task.fields[note]}"))
    with (
        Progress(*columns, TimeElapsedColumn(), console=console) as progress,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        running = [
            pool.submit(
                run_job, progress, progress.add_task(job, start=False, note="waiting"), command
            )
            for job, command in jobs.items()
        ]
        for job in running:
            job.result()


def run_job(progress: Progress, bar: Any, command: list[str]) -> None:
    progress.start_task(bar)
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        for line in process.stdout:
            show_progress(progress, bar, line)
        if process.wait():
            errors.seek(0)
            raise Failed(f"{' '.join(command)}:\n{errors.read()}")
    progress.update(bar, total=1, completed=1, note="done")


def show_progress(progress: Progress, bar: Any, line: str) -> None:
    """Read a line `[what] STEP STEPS LOSS`, as the training scripts print them."""
    words = line.split()
    if len(words) >= 3:
        what, (step, steps, loss) = " ".join(words[:-3]), words[-3:]
        note = f"{what} step {step} of {steps}, loss {loss}".strip()
        progress.update(bar, completed=int(step), total=int(steps), note=note)


@contextmanager
def hub(folder: Path) -> Iterator[str]:
    """Run a hub for the duration, and yield its URL."""
    server = subprocess.Popen(
        [HUBCTL, "serve", "--data", str(folder), "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield read_document(server)["url"]
    finally:
        server.terminate()
        server.wait(timeout=20)


def read_document(server: subprocess.Popen[str]) -> dict[str, Any]:
    """Read the JSON document that a hub prints once it listens."""
    text = ""
    for line in server.stdout:
        text += line
        if line.startswith("}"):
            document: dict[str, Any] = json.loads(text)
            return document
    raise Failed("the hub did not start; to see why: hubctl serve")


# --- the story


def train_packs(work: Path, steps: int | None) -> None:
    fewer = [] if steps is None else ["--steps", steps]
    jobs = {
        f"{NAMES[name]} language pack": script("language_pack.py", name, work / name, *fewer)
        for name in (*TARGETS, SOURCE)
    }
    jobs["French, another method"] = script(
        "language_pack.py", "fr", work / "fr-lora", "--method", "lora", "--steps", steps or 20
    )
    run_side_by_side(jobs)


def train_tasks(work: Path, epochs: int | None) -> None:
    fewer = [] if epochs is None else ["--epochs", epochs]
    packs = [f"{language}={work / language}" for language in LANGUAGES]
    english = work / "pulled-en"
    jobs = {
        f"task adapters, seed {seed}": script(
            "task.py", seed, english, work / f"s{seed}", *packs, *fewer
        )
        for seed in TASK_SEEDS
    }
    run_side_by_side(jobs)


def push_packs(owner: str, work: Path) -> None:
    for language in LANGUAGES:
        write_card(work / language, f"{NAMES[language]} of man pages", [language])
        say_and_run("push", work / language, f"{owner}/manpages-{language}")
    write_card(work / "fr-lora", "French of man pages, as LoRA", ["fr"])
    hubctl("push", work / "fr-lora", f"{owner}/manpages-fr-lora")


def push_tasks(owner: str, work: Path) -> None:
    for seed in TASK_SEEDS:
        names = {"stacked": f"sections-s{seed}", "alone": f"sections-alone-s{seed}"}
        for kind, name in names.items():
            title = f"Sections of man pages, trained {kind}, seed {seed}"
            write_card(work / f"s{seed}" / kind, title, [SOURCE])
            hubctl("push", work / f"s{seed}" / kind, f"{owner}/{name}")


def write_card(folder: Path, title: str, languages: list[str]) -> None:
    """Write a card beside the adapter; the catalogue shows it."""
    front = {"language": languages, "license": "apache-2.0", "tags": ["demo", "man-pages"]}
    lines = [f"{key}: {json.dumps(value)}" for key, value in front.items()]
    text = (
        "Trained by `make demo` on paragraphs of Debian's man pages. "
        "See examples/madx in the source for the text, its licence and the settings."
    )
    card = "\n".join(["---", *lines, "---", "", f"# {title}", "", text, ""])
    (folder / "README.md").write_text(card, "utf-8")


def refuse_another_contract(owner: str, work: Path) -> None:
    folder = work / f"s{TASK_SEEDS[0]}" / "setup-de"
    say_and_run("swap", folder, "--slot", f"lang={owner}/manpages-fr-lora", refused=True)


def evaluate(owner: str, work: Path) -> list[dict[str, Any]]:
    jobs = {
        f"evaluation, seed {seed}": script("evaluate.py", owner, seed, work / f"s{seed}")
        for seed in TASK_SEEDS
    }
    run_side_by_side(jobs)
    found = [
        json.loads((work / f"s{seed}" / "predictions.json").read_text("utf-8"))
        for seed in TASK_SEEDS
    ]
    worst = max(run["largest_difference_from_training"] for run in found)
    console.print(f"Largest difference from the outputs of the training process: {worst:g}")
    if worst > 1e-5:
        raise Failed("a pulled set-up computes something else than the trained one")
    return found


# --- the table


def conditions(text: str) -> dict[str, str]:
    """Return row title -> prediction key for a language's test text."""
    rows = {
        "task adapter alone": f"alone/{text}",
        "trained set-up, Stack(en, task)": f"stack-en/{text}",
    }
    if text != SOURCE:
        other = next(language for language in TARGETS if language != text)
        rows |= {
            f"swapped, Stack({text}, task)": f"stack-{text}/{text}",
            f"wrong language, Stack({other}, task)": f"stack-{other}/{text}",
            "rows only: English adapter, own rows": f"rows-{text}/{text}",
        }
    return rows


def show_table(found: list[dict[str, Any]]) -> None:
    for text in LANGUAGES:
        texts, gold = examples(text, "test", TEST_PER_CLASS, TEST_SEED)
        title = (
            f"{NAMES[text]} text: balanced accuracy in %, "
            f"{len(gold)} paragraphs, {len(found)} seeds"
        )
        table = Table(title=title, title_justify="left", title_style="bold")
        for header, justify in (("set-up", "left"), ("mean", "right"), ("95 % interval", "right")):
            table.add_column(header, justify=justify)
        floor = [bag_of_words(texts, seed) for seed in TASK_SEEDS]
        table.add_row("bag of words, trained on English", *percent(interval(gold, floor)))
        for row, key in conditions(text).items():
            table.add_row(row, *percent(interval(gold, runs_of(found, key))))
        console.print(table)


def runs_of(found: list[dict[str, Any]], key: str) -> list[np.ndarray]:
    return [np.array(run["predictions"][key]) for run in found]


def percent(value: tuple[float, float, float]) -> tuple[str, str]:
    mean, low, high = (100 * part for part in value)
    return f"{mean:.1f}", f"{low:.1f} to {high:.1f}"


def carrier(layers: tuple[float, float, float]) -> str:
    """Return what to say of the layers' own part, given its mean and interval."""
    _, low, high = layers
    if low > 0:
        return "the adapter's layers add to what its embedding rows do"
    rows = "its embedding rows carry that; the adapter's layers"
    return f"{rows} take away from it" if high < 0 else f"{rows} add nothing that can be told"


def say_what_carries_it(found: list[dict[str, Any]]) -> None:
    for text in TARGETS:
        _, gold = examples(text, "test", TEST_PER_CLASS, TEST_SEED)
        swapped = runs_of(found, f"stack-{text}/{text}")
        swap = paired_interval(gold, swapped, runs_of(found, f"stack-en/{text}"))
        layers = paired_interval(gold, swapped, runs_of(found, f"rows-{text}/{text}"))
        console.print(
            f"{NAMES[text]}: swapping gives {points(swap)} over the unswapped set-up. "
            "Against its rows alone under the English adapter it gives "
            f"{points(layers)}: {carrier(layers)}.",
            highlight=False,
        )
    console.print(
        "A base and texts this small show the mechanism; "
        "published MAD-X has orders of magnitude more of both.",
        highlight=False,
    )


def points(difference: tuple[float, float, float]) -> str:
    value, low, high = (100 * part for part in difference)
    return f"{value:+.1f} points [{low:+.1f}, {high:+.1f}]"


def record_scores(owner: str, work: Path, found: list[dict[str, Any]]) -> None:
    """Record every measured set-up in the hub, under the digest of its lock."""
    count = 0
    for seed, run in zip(TASK_SEEDS, found, strict=True):
        for key, predicted in run["predictions"].items():
            what, text = key.split("/")
            if what.startswith("rows-"):
                continue  # put together here, not a set-up of published adapters
            subject = f"{owner}/sections-alone-s{seed}"
            if what.startswith("stack-"):
                subject = str(work / f"s{seed}" / f"setup-{what.removeprefix('stack-')}")
            _, gold = examples(text, "test", TEST_PER_CLASS, TEST_SEED)
            value, low, high = interval(gold, [np.array(predicted)])
            measured = {
                "dataset": "debian-man-page-sections",
                "language": text,
                "metric": "balanced_accuracy",
                "value": round(value, 4),
                "n": len(gold),
                "stderr": round((high - low) / 3.92, 4),  # 95 % is 1.96 standard errors each way
            }
            options = [part for field, given in measured.items() for part in (f"--{field}", given)]
            settings = (f"zero_shot={json.dumps(text != SOURCE)}", f"seed={seed}")
            options += [part for setting in settings for part in ("--condition", setting)]
            hubctl("scores", "add", subject, *options)
            count += 1
    console.print(f"{count} scores recorded, each for the digest of its set-up.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("demo-hub"))
    parser.add_argument("--steps", type=int, help="fewer steps per language pack, to try it out")
    parser.add_argument("--epochs", type=int, help="fewer epochs per task adapter")
    options = parser.parse_args()
    folder = options.folder.resolve()
    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    os.environ |= {"OMP_NUM_THREADS": "1", "HUBCTL_CREDENTIALS": str(folder / "credentials.json")}
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "HF_HOME": str(folder / "cache")}
    started = time.time()
    with hub(folder / "hub") as url:
        os.environ["HUBCTL_ENDPOINT"] = url
        owner = hubctl("whoami")["account"]
        tell(f"1. A hub runs at {url}; you are {owner!r}, and its data is in {folder / 'hub'}")
        tell("2. Language packs: English, German, French (one process per language)")
        train_packs(work, options.steps)
        tell("3. They are published")
        push_packs(owner, work)
        tell("4. Task adapters, on the English pack as it is pulled from the hub, and alone")
        hubctl("pull", f"{owner}/manpages-{SOURCE}", "--to", work / "pulled-en", "--force")
        train_tasks(work, options.epochs)
        push_tasks(owner, work)
        say_and_run("search", "sections")
        say_and_run("search", "--language", "de")
        tell("5. In fresh processes: pulled by need, the language swapped by one call")
        found = evaluate(owner, work)
        tell("6. A swap that must be refused: another contract")
        refuse_another_contract(owner, work)
        tell("7. What was measured")
        show_table(found)
        say_what_carries_it(found)
        record_scores(owner, work, found)
    minutes = (time.time() - started) / 60
    tell(f"Done in {minutes:.1f} minutes. To look around in the catalogue:")
    console.print(
        f"  {Path(HUBCTL)} serve --data {folder / 'hub'}\n  and open http://127.0.0.1:8000"
    )


def tell(text: str) -> None:
    console.print(f"\n[bold cyan]{text}[/]", highlight=False)


if __name__ == "__main__":
    try:
        main()
    except Failed as error:
        console.print(f"[bold red]The demo failed:[/] {error}", highlight=False)
        sys.exit(1)
