"""The one way to make the add-on's zip: copy → ``blender --command extension build`` → ``extension validate``.

    python build_addon.py [--out dist] [--blender /path/to/blender]

Where no Blender executable is found, the zip is made here, with the same checks of the manifest and the imports.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
LONGEST = 64
"""Letters of a tagline or a permission's reason, by Blender's rules; neither ends in punctuation."""
NEEDED = ("schema_version", "id", "version", "name", "tagline", "maintainer", "type", "blender_version_min", "license")
EMBEDDED = tuple((f"blender_assets/{folder}/{name}", f"assets/{name}") for folder, names in {
    "head": ("parley_head.npz", "parley_detail.png", "parley_hair.npz"),
    "models": ("motion.safetensors", "motion_open.safetensors", "pose.safetensors", "contact.safetensors",
               "voice.safetensors", "voice.md", "emotions.json"),
    "speech": ("sample.wav",),
}.items() for name in names)
"""What the add-on works with where there is no backend: source, place in the zip."""
WHEEL = ("pyproject.toml", "README.md", "addon", "blender_assets", "ml_backend")
"""What the backend's wheel is made from."""


def main() -> int:
    """Build, check, and say where the zip lies; returns the exit code."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for the zip (default: dist)")
    options.add_argument("--blender", help="Blender executable (default: the one on the PATH)")
    options.add_argument("--no-wheel", action="store_true",
                         help="leave out the backend's wheel (27 MB), which Set Up Backend installs from")
    chosen = options.parse_args()
    blender = shutil.which(chosen.blender or "blender")
    if chosen.blender and blender is None:
        sys.stderr.write(f"build_addon: {chosen.blender} is no Blender that can be started.\n")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        tree = copy_tree(Path(folder) / "parley")
        if not chosen.no_wheel and not add_wheel(tree, Path(folder) / "source"):
            sys.stderr.write("build_addon: pip can't build the backend's wheel; Set Up Backend will ask for it.\n")
        problems = check(tree)
        if problems:
            sys.stderr.write("".join(f"build_addon: {problem}\n" for problem in problems))
            return 1
        chosen.out.mkdir(parents=True, exist_ok=True)
        made = chosen.out / f"parley-{manifest(tree)['version']}.zip"
        made.unlink(missing_ok=True)
        code = build_with(blender, tree, made) if blender else build_here(tree, made)
    if code == 0:
        how = "built and validated by Blender" if blender else "no Blender found: built and checked here"
        sys.stdout.write(f"{made} ({made.stat().st_size / 1e6:.1f} MB, {how})\n")
    return code


def copy_tree(tree: Path) -> Path:
    """The add-on's files, its embedded assets and the project's version, without caches, at `tree`."""
    shutil.copytree(ROOT / "addon", tree, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    for source, place in EMBEDDED:
        (tree / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / source, tree / place)
    stamped = tree / "blender_manifest.toml"
    text = re.sub(r'(?m)^version = .*$', f'version = "{version()}"', stamped.read_text(encoding="utf-8"), count=1)
    stamped.write_text(text, encoding="utf-8")
    return tree


def add_wheel(tree: Path, source: Path) -> bool:
    """Put the backend's wheel, built from a clean copy at `source`, among the extension's assets; whether it worked."""
    source.mkdir()
    for name in WHEEL:
        item = ROOT / name
        if item.is_dir():
            shutil.copytree(item, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        else:
            shutil.copyfile(item, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
               "--wheel-dir", tree / "assets", source]
    return subprocess.run(command, check=False, env={**os.environ, "SOURCE_DATE_EPOCH": "1767225600"}).returncode == 0


def version() -> str:
    """The project's version, which stands in ``ml_backend/__init__.py`` and nowhere else."""
    for node in ast.parse((ROOT / "ml_backend" / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__":
            return str(ast.literal_eval(node.value))
    raise SystemExit("build_addon: ml_backend/__init__.py names no version.")


def manifest(tree: Path) -> dict:
    """The manifest of the extension at `tree`."""
    return tomllib.loads((tree / "blender_manifest.toml").read_text(encoding="utf-8"))


def check(tree: Path) -> list[str]:
    """What is wrong with the extension at `tree`: the manifest by Blender's rules, absolute imports of itself."""
    facts = manifest(tree)
    problems = [f"blender_manifest.toml lacks {name}" for name in NEEDED if name not in facts]
    lines = {"tagline": facts.get("tagline", ""), **facts.get("permissions", {})}
    problems += [f"the manifest's {name} is longer than {LONGEST} letters or ends in punctuation"
                 for name, text in lines.items() if len(text) > LONGEST or text.endswith((".", "!", "?", ","))]
    problems += [f"the licence {name} is no SPDX identifier" for name in facts.get("license", [])
                 if not name.startswith("SPDX:")]
    if not re.fullmatch(r"\d+\.\d+\.\d+", str(facts.get("version", ""))):
        problems.append("the manifest's version is no number of three parts")
    for path in sorted(tree.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            problems += [f"{path.relative_to(tree)} imports {name} absolutely" for name in names
                         if name.split(".")[0] in ("addon", "ml_backend", "parley")]
    return problems


def build_with(blender: str, tree: Path, made: Path) -> int:
    """Have Blender build and validate the zip; returns its exit code."""
    command = [blender, "--command", "extension"]
    code = subprocess.run([*command, "build", "--source-dir", tree, "--output-filepath", made], check=False).returncode
    return code or subprocess.run([*command, "validate", made], check=False).returncode


def build_here(tree: Path, made: Path) -> int:
    """Zip the extension in a fixed order with fixed times, so that the same tree gives the same bytes."""
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in tree.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(str(path.relative_to(tree)), (2026, 1, 1, 0, 0, 0))
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, path.read_bytes())
    return 0


if __name__ == "__main__":
    sys.exit(main())
