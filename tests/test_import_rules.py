"""The import rules of the design, read from the syntax tree: who may import whom."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ADDON_LAYERS = {
    "core": {"core"},
    "bl": {"bl", "core"},
    "ui": {"ui", "bl", "core"},
    "features": {"features", "ui", "bl", "core"},
}
SHARED = {"errors", "progress", "config", "artefacts", "face_model", "audio", "metrics", "__init__"}
STAGES = {
    "audio",
    "face_model",
    "reconstruct",
    "motion",
    "background",
    "refine",
    "oneshot",
    "metrics",
    "data",
    "film",
    "artefacts",
}
HEAVY = {"torch", "librosa", "cv2", "mediapipe", "av", "scipy", "safetensors", "rich", "insightface", "onnxruntime"}


def imports(path: Path) -> set[tuple[str, ...]]:
    """Absolute module paths that the file imports anywhere, relative imports resolved."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    found: set[tuple[str, ...]] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {tuple(alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = base + (tuple(node.module.split(".")) if node.module else ())
            found.add(module)
            found |= {(*module, alias.name) for alias in node.names}
    return found


def files(folder: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts)


def broken(path: Path, forbidden: set[str]) -> set[str]:
    return {name[0] for name in imports(path)} & forbidden


@pytest.mark.parametrize("path", files("addon"), ids=lambda p: str(p.relative_to(ROOT)))
def test_addon_imports_no_backend_and_nothing_heavy(path: Path) -> None:
    assert not broken(path, HEAVY | {"ml_backend", "blender_assets", "tests"})


@pytest.mark.parametrize("path", files("addon/core"), ids=lambda p: str(p.relative_to(ROOT)))
def test_addon_core_knows_no_blender(path: Path) -> None:
    assert not broken(path, {"bpy", "bmesh", "mathutils", "bpy_extras", "aud", "gpu"})


@pytest.mark.parametrize("path", files("addon"), ids=lambda p: str(p.relative_to(ROOT)))
def test_addon_layers_point_downwards(path: Path) -> None:
    parts = path.relative_to(ROOT / "addon").parts
    if len(parts) < 2:
        return
    targets = {name[1] for name in imports(path) if name[0] == "addon" and len(name) > 1 and name[1] in ADDON_LAYERS}
    assert targets <= ADDON_LAYERS[parts[0]], f"{path} imports upwards: {targets - ADDON_LAYERS[parts[0]]}"
    if parts[0] == "features" and len(parts) > 2:
        others = {name[2] for name in imports(path) if name[:2] == ("addon", "features") and len(name) > 2}
        assert others <= {parts[1]}, f"{path} imports another feature: {others}"


@pytest.mark.parametrize("path", files("ml_backend"), ids=lambda p: str(p.relative_to(ROOT)))
def test_backend_imports_no_blender(path: Path) -> None:
    assert not broken(path, {"bpy", "bmesh", "mathutils", "addon", "tests", "blender_assets"})


@pytest.mark.parametrize("path", files("ml_backend"), ids=lambda p: str(p.relative_to(ROOT)))
def test_backend_stages_are_independent(path: Path) -> None:
    parts = path.relative_to(ROOT / "ml_backend").parts
    if len(parts) < 2 or parts[0] not in STAGES:
        return
    own = {name[1:] for name in imports(path) if name[0] == "ml_backend" and len(name) > 1}
    assert not {name for name in own if name[0] in ("cli", "worker", "talk", "take")}, f"{path} imports a front end"
    others = {name for name in own if name[0] in STAGES and name[0] != parts[0] and name[0] not in SHARED}
    assert not {name for name in others if "train" in name or "personalise" in name}, (
        f"{path} imports another stage's training"
    )


def test_addon_imports_without_blender() -> None:
    """`import addon` works in a Python that has no bpy."""
    import subprocess
    import sys

    code = "import sys; sys.modules['bpy'] = None; import addon; print(callable(addon.register))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True", done.stderr


def test_no_pickle_and_no_unsafe_load() -> None:
    for folder in ("addon", "ml_backend", "blender_assets"):
        for path in files(folder):
            text = path.read_text(encoding="utf-8")
            assert "import pickle" not in text and "allow_pickle=True" not in text, path
            assert "torch.load(" not in text or "weights_only=True" in text, path
