"""`hubctl swap`."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cli import folders, output, setups, transfer
from cli.failures import Failure
from cli.framework import HubCommand, connect, hub_options
from registry import names, setup, setup_text
from registry.schemas import Lock, Need, Options, SwapIn

Filling = str | Need


@click.command(
    "swap",
    cls=HubCommand,
    examples=(
        "hubctl swap ./setup --language sw",
        "hubctl swap ./setup --slot lang=lab/xlmr-sw-wiki@1.0.0",
    ),
)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--language", metavar="TAG", help="Replace the language adapter by this language's.")
@click.option(
    "--slot",
    "slots",
    metavar="NAME=WHAT",
    multiple=True,
    help="Replace a slot by a reference or a need, such as lang=lang:sw. May be repeated.",
)
@click.option("--strict", is_flag=True, help="Refuse what is only unproven.")
@click.option("--allow-base-mismatch", is_flag=True, help="Accept other weights of equal shape.")
@hub_options
def command(
    *,
    folder: Path,
    language: str | None,
    slots: tuple[str, ...],
    strict: bool,
    allow_base_mismatch: bool,
    endpoint: str | None,
    as_json: bool,
) -> None:
    """Replace one adapter of a pulled set-up, such as its language.

    All other parts stay as they are pinned. When the contract of a part is not met, the swap is
    refused with the reason, and the folder is left untouched.
    """
    document = folders.read_lock(folder)
    before = setups.read_lock(document)
    asked = _asked(folder, before, language, slots)
    options = Options(strict=strict, allow_base_mismatch=allow_base_mismatch)
    with connect(endpoint, origin=setups.endpoint_of(folder, before)) as client:
        answer = client.swap(SwapIn(lock=document, slots=asked, options=options))
        after = setups.read_lock(answer.lock)
        changed = _changed(before, after, asked)
        for warning in answer.warnings:
            output.warn(warning)
        if changed:
            recipe = setups.refilled(folder, asked)
            with folders.replacing(folder) as draft:
                kept = _carry_over(folder, draft, before, after, changed)
                setups.write(client, draft, answer.lock, recipe, skip=kept)
    if as_json:
        output.as_json(_report(folder, before, after, changed, answer.warnings))
    else:
        _show(before, after, changed)


def _asked(
    folder: Path, lock: Lock, language: str | None, slots: tuple[str, ...]
) -> dict[str, Filling]:
    """Return the new filling of each slot to replace."""
    asked: dict[str, Filling] = {}
    if language is not None:
        asked[_language_slot(folder, lock)] = Need(language=names.parse_language(language))
    for text in slots:
        slot, equals, filling = text.partition("=")
        if not equals or not filling:
            raise click.UsageError(f"--slot reads NAME=WHAT, not {text!r}.")
        asked[slot] = next(iter(setup_text.parse_recipe(filling).slots.values()))
    if not asked:
        raise click.UsageError("Say what to replace: --language TAG or --slot NAME=WHAT.")
    if unknown := sorted(asked.keys() - lock.slots.keys()):
        raise Failure(
            f"the set-up has no slot {unknown[0]!r}; it has {', '.join(lock.slots)}",
            code="invalid_recipe",
        )
    return asked


def _language_slot(folder: Path, lock: Lock) -> str:
    """Return the one slot that holds a language adapter, as the adapters themselves say."""
    found = [slot for slot in lock.slots if _is_language(folder / slot / "hub_adapter.json")]
    if len(found) == 1:
        return found[0]
    if not found and "lang" in lock.slots:
        return "lang"
    raise Failure(
        f"the set-up has {output.plural(len(found), 'language slot') if found else 'none'}"
        if found
        else "no part of the set-up says that it is a language adapter",
        hint=f"name the slot: --slot {next(iter(found or lock.slots))}=lang:TAG",
    )


def _is_language(path: Path) -> bool:
    if not path.is_file():
        return False
    about = folders.read_json(path)
    signature = about.get("signature") or {}
    return about.get("kind") == "language" or signature.get("slot") == "lang"


def _changed(before: Lock, after: Lock, asked: Mapping[str, Filling]) -> tuple[str, ...]:
    """Return the slots that differ. Others than those asked for may not."""
    differing = tuple(
        slot
        for slot in {**before.slots, **after.slots}
        if before.slots.get(slot) != after.slots.get(slot)
    )
    pins = {slot: _pin(before, slot) for slot in differing}
    moved = [slot for slot in differing if slot not in asked and pins[slot] != _pin(after, slot)]
    if moved or before.base != after.base:
        raise Failure(
            f"the hub answered with another {moved[0] if moved else 'base'}, which was not asked "
            "for; nothing was changed"
        )
    return differing


def _pin(lock: Lock, slot: str) -> tuple[str, str] | None:
    pinned = lock.slots.get(slot)
    return None if pinned is None else (pinned.content, pinned.revision)


def _carry_over(
    folder: Path, draft: Path, before: Lock, after: Lock, changed: tuple[str, ...]
) -> frozenset[str]:
    """Bring what stays into the new folder; return the slots that need no download.

    A slot whose files were changed by hand is fetched again, for the lock speaks of the originals;
    what was changed is kept beside it.
    """
    folders.copy_tree(folder, draft)
    kept = set()
    for slot, pinned in after.slots.items():
        same_files = slot not in changed or (
            folders.origin(folder / slot).get("revision") == pinned.revision
        )
        if same_files and transfer.intact(draft / slot, transfer.files_of(pinned.files)):
            kept.add(slot)
        else:
            _clear(draft, slot, before)
    return frozenset(kept)


def _clear(draft: Path, slot: str, before: Lock) -> None:
    """Make room for a slot's new files; files that no hub has are moved aside, not deleted."""
    place = draft / slot
    files = transfer.files_of(before.slots[slot].files) if slot in before.slots else []
    found = {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}
    own = found - {file.path for file in files if transfer.intact(place, [file])}
    if not own - folders.SIDECARS:
        shutil.rmtree(place, ignore_errors=True)
        return
    taken = sum(1 for _ in draft.glob(f"{slot}.changed*"))
    aside = draft / (f"{slot}.changed{taken + 1}" if taken else f"{slot}.changed")
    place.rename(aside)
    output.warn(f"{slot} held files that were changed by hand; they are in {aside.name} now")


def _report(
    folder: Path, before: Lock, after: Lock, changed: tuple[str, ...], warnings: list[str]
) -> dict[str, Any]:
    return {
        "path": str(folder.absolute()),
        "setup": setup.setup_digest(after),
        "changed": {
            slot: {"from": before.slots[slot].ref, "to": after.slots[slot].ref} for slot in changed
        },
        "unchanged": {
            slot: pinned.ref for slot, pinned in after.slots.items() if slot not in changed
        },
        "warnings": warnings,
    }


def _show(before: Lock, after: Lock, changed: tuple[str, ...]) -> None:
    if not changed:
        output.note("Nothing to do: the set-up holds this already.")
    rows = []
    for slot, pinned in after.slots.items():
        former = before.slots[slot].ref
        if slot not in changed:
            rows.append([slot, former, "unchanged"])
        elif former == pinned.ref:
            rows.append([slot, former, f"loaded without layers {list(pinned.load.leave_out)}"])
        else:
            rows.append([slot, former, f"replaced by {pinned.ref}"])
    output.table(("slot", "adapter", "now"), rows)
