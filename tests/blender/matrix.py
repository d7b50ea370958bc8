"""``python -m tests.blender.matrix``: the zip in every Blender that is found, and the table of it in the README.

    python -m tests.blender.matrix [--zip FILE] [--blender PROGRAM]… [--module FOLDER]… [--root DIR]… [--readme]

Found by themselves: ``blender`` on the PATH, this Python's ``bpy`` module, those that ``tests/setup.sh`` puts below
``.venv/share/parley``, and the root folders that ``root.sh`` made in ``.cache``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import build_addon

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
STEPS = ("install", "add_head", "animate", "reopen", "remove")
BEGIN, END = "<!-- blenders: made by python -m tests.blender.matrix --readme -->", "<!-- end of blenders -->"
TITLE = ("| Blender | Python | NumPy | what | zip installed | head added | *Animate*, 5.5 s of speech | keys after "
         "re-opening |\n|---|---|---|---|---|---|---|---|\n")
PATIENCE = 600


@dataclass(frozen=True)
class Target:
    """A Blender: `kind` "program", "module" or "root", and its `place`; None = the module of this Python."""

    kind: str
    place: Path | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.place.name if self.place else 'bpy'}"


def found() -> list[Target]:
    """Every Blender that lies where it usually does."""
    targets = [Target("root", place.parent) for place in sorted((ROOT / ".cache").glob("blender*/complete"))
               if hasattr(os, "geteuid") and os.geteuid() == 0]
    if program := shutil.which("blender"):
        targets.append(Target("program", Path(program)))
    targets += [Target("module", place.parent) for place in sorted((ROOT / ".venv/share/parley").glob("bpy-*/bpy"))]
    if importlib.util.find_spec("bpy") is not None:
        targets.append(Target("module"))
    return targets


def zipped(folder: Path) -> Path:
    """The add-on's zip, made in `folder`."""
    tree = build_addon.copy_tree(folder / "parley")
    problems = build_addon.check(tree)
    if problems:
        raise RuntimeError("; ".join(problems))
    made = folder / f"parley-{build_addon.manifest(tree)['version']}.zip"
    build_addon.build_here(tree, made)
    return made


def run(target: Target, archive: Path) -> dict[str, Any]:
    """All steps in `target`, with a user's folder of its own; what `steps.py` says, "failed" with its last words."""
    with tempfile.TemporaryDirectory(prefix="parley_matrix_") as folder:
        shared = Path(folder)
        shutil.copyfile(archive, shared / "parley.zip")
        shutil.copyfile(HERE / "steps.py", shared / "steps.py")
        environment = {**os.environ, "BLENDER_USER_RESOURCES": folder, "PARLEY_DATA": folder}
        environment.pop("PARLEY_PYTHON", None)
        facts: dict[str, Any] = {"what": str(target), "validated": None}
        if target.kind != "module":
            words = ["--command", "extension", "validate", f"{inside(target, shared)}/parley.zip"]
            command = [*start(target, shared), *words]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            facts["validated"] = done.returncode == 0
        if target.place is not None and target.kind == "module":
            environment["PYTHONPATH"] = str(target.place)
        where = inside(target, shared)
        begin = ["-b", "--factory-startup", "--python"] if target.kind != "module" else []
        command = [*start(target, shared), *begin, f"{where}/steps.py", "--", f"{where}/parley.zip", where]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE)
    line = next((line for line in done.stdout.splitlines() if line.startswith("MATRIX ")), None)
    if line is None:
        return {**facts, "failed": (done.stderr or done.stdout)[-2000:]}
    facts |= json.loads(line[len("MATRIX "):])
    return facts | ({"output": (done.stdout + done.stderr)[-4000:]} if "failed" in facts else {})


def start(target: Target, shared: Path) -> list[str]:
    """The command line's beginning."""
    if target.kind == "root":
        return ["bash", str(HERE / "root.sh"), "run", str(target.place), str(shared), "blender"]
    return [sys.executable] if target.kind == "module" else [str(target.place)]


def inside(target: Target, shared: Path) -> str:
    """How the Blender sees the folder `shared`."""
    return "/shared" if target.kind == "root" else str(shared)


def row(facts: dict[str, Any]) -> str:
    """One line of the table."""
    what = {"root": "Debian's", "program": "program", "module": "`bpy` module"}[facts["what"].split()[0]]
    said = [facts["steps"].get(name, {}).get("said", "**failed**") for name in STEPS[:4]]
    said[0] = f"{said[0]}, validated" if facts["validated"] else said[0]
    return (f"| {facts['blender']} | {facts['python']} | {facts['numpy']} | {what} | {said[0]} | {said[1]} | {said[2]} "
            f"| {said[3]} |\n")


def merged(text: str, rows: list[str]) -> str:
    """`text` of the README whose table has `rows`; lines of Blenders that were not run now stay."""
    before, rest = text.split(BEGIN)
    old, after = rest.split(END)
    kept = {line.split("|")[1].strip(): line + "\n" for line in old.splitlines() if line.startswith("| ")
            and not line.startswith("| Blender")}
    kept |= {line.split("|")[1].strip(): line for line in rows}
    ordered = [kept[name] for name in sorted(kept, key=lambda name: [int(part) for part in name.split()[0].split(".")])]
    return f"{before}{BEGIN}\n{TITLE}{''.join(ordered)}{END}{after}"


def main(words: list[str] | None = None) -> int:
    """Run, print the table, write it where that is wanted; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zip", type=Path, help="the zip (default: made now)")
    for kind, name in (("program", "blender"), ("module", "module"), ("root", "root")):
        parser.add_argument(f"--{name}", dest=kind, type=Path, action="append", default=[])
    parser.add_argument("--readme", action="store_true", help="put the table into README.md")
    chosen = parser.parse_args(words)
    targets = [Target(kind, place.absolute()) for kind in ("root", "program", "module")
               for place in getattr(chosen, kind)]
    rows, failed = [], False
    with tempfile.TemporaryDirectory() as folder:
        archive = chosen.zip or zipped(Path(folder))
        for target in targets + found():
            facts = run(target, archive)
            if "failed" in facts or facts["validated"] is False:
                failed = True
                why = facts.get("failed", "the zip is not valid")
                sys.stderr.write(f"{target}: {why}\n{facts.get('output', '')}\n")
            if "blender" in facts:
                rows.append(row(facts))
                sys.stdout.write(rows[-1])
                sys.stdout.flush()
    if chosen.readme and not failed:
        readme = ROOT / "README.md"
        readme.write_text(merged(readme.read_text(encoding="utf-8"), rows), encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
