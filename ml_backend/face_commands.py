"""`parley face`: add and list (the face models that the user holds), random and sheet (see `face_sheet`)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ml_backend.terminal import Terminal

KINDS = ("ict", "bfm2009", "bfm-front", "bfm-h5", "flame")
WORST = 5
"""How many of the least well matched expressions are shown."""


def add_arguments(face: argparse.ArgumentParser) -> None:
    """Give the command `face` its subcommands."""
    actions = face.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = actions.add_parser("add", help="convert a face model that you hold, for --face-model NAME")
    add.add_argument("name", metavar="NAME", help="what to call it")
    add.add_argument("paths", metavar="PATH", nargs="+", type=Path, help="its file or folder, and companion files")
    add.add_argument("--kind", choices=KINDS, help="its family (default: told by the files)")
    add.add_argument("--overwrite", action="store_true", help="replace a model of the same name")
    actions.add_parser("list", help="the face models that --face-model knows")
    _add_sheet_arguments(actions)


def _add_sheet_arguments(actions: argparse._SubParsersAction) -> None:
    random = actions.add_parser("random", help="make a random person, for --character")
    random.add_argument("--seed", type=int, default=0, help="which person (default: 0)")
    random.add_argument("--out", type=Path, required=True, help="the character's file (.npz)")
    random.add_argument("--hair", metavar="STYLE", help="crop, short, bob, tied or none (default: drawn by the seed)")
    sheet = actions.add_parser("sheet", help="render a contact sheet of a face model")
    sheet.add_argument("--what", choices=("shapes", "emotions", "identities"), default="shapes",
                       help="(default: shapes)")
    sheet.add_argument("--seed", type=int, default=0, help="the first random person (default: 0)")
    sheet.add_argument("--out", type=Path, required=True, help="the picture (.png)")
    sheet.add_argument("--blender", help="Blender executable to use instead of the bpy module")
    for command in (random, sheet):
        command.add_argument("--face-model", default="parley", metavar="NAME", help="see `parley face list`")
        command.add_argument("--overwrite", action="store_true", help="replace the file if it is there")


def run(options: argparse.Namespace, terminal: Terminal) -> None:
    """Do the chosen action; raises `ParleyError`."""
    # Imported late: `parley --help` must not wait for SciPy and h5py.
    if options.action in ("random", "sheet"):
        from ml_backend import face_sheet

        face_sheet.run(options, terminal)
        return
    from ml_backend.face_model import store

    if options.action == "list":
        sys.stdout.write(listing(store.stored_models()) + "\n")
        return
    with terminal.stage("Converting the face model") as progress:
        stored = store.add(
            options.name, options.paths, kind=options.kind, overwrite=options.overwrite, progress=progress
        )
    for line in summary(stored.name, stored.facts):
        terminal.say(line)


def listing(models: list) -> str:
    """One line per model, the built-in one first."""
    rows = ["parley  built in"]
    for stored in models:
        facts = stored.facts
        rows.append(f"{stored.name}  {facts.get('kind', 'unknown family')}, {facts.get('vertices', '?')} vertices")
    return "\n".join(rows)


def summary(name: str, facts: dict) -> list[str]:
    """What the user should know about a converted model."""
    lines = [
        f"{name}: {facts['kind']}, {facts['vertices']} vertices, {facts['identities']} identity modes, "
        f"{facts['expressions']} expressions."
    ]
    residual, motion = facts["residual_mm"], facts["motion_mm"]
    if residual:
        worst = sorted(residual, key=lambda shape: -residual[shape])[:WORST]
        lines.append(
            f"Its expressions follow the built-in head's within {facts['residual_mm_mean']:.2f} mm on average, of "
            f"{facts['motion_mm_mean']:.2f} mm of motion; least well: "
            + ", ".join(f"{shape} {residual[shape]:.2f} of {motion[shape]:.2f} mm" for shape in worst)
            + "."
        )
    lines += facts["notes"]
    return [*lines, f"Use it with --face-model {name}."]
