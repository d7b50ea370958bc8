"""Run inside a Blender: install the add-on's zip, add a head, animate the sample by the instant engine, save, re-open.

    blender -b --factory-startup --python steps.py -- ZIP FOLDER
    python steps.py -- ZIP FOLDER                                   where the bpy module is

Knows nothing of the source tree: only the zip is tested. Prints one line that begins with MATRIX and holds JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import bpy
import numpy as np

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false, reportArgumentType=false

MODULE = "bl_ext.user_default.parley"


def main() -> int:
    """All steps in order; the first that fails ends it."""
    archive, folder = Path(sys.argv[-2]), Path(sys.argv[-1])
    facts: dict[str, Any] = {"blender": bpy.app.version_string, "python": ".".join(map(str, sys.version_info[:3])),
                             "numpy": np.__version__, "steps": {}}
    state: dict[str, Any] = {"zip": archive, "folder": folder}
    for step in (install, add_head, animate, save, reopen, remove):
        begun = time.perf_counter()
        try:
            facts["steps"][step.__name__] = {"said": step(state), "seconds": round(time.perf_counter() - begun, 2)}
        except Exception as error:
            traceback.print_exc()
            facts["failed"] = f"{step.__name__}: {error}"
            break
    sys.stdout.write("\nMATRIX " + json.dumps(facts) + "\n")
    sys.stdout.flush()
    return 1 if "failed" in facts else 0


def install(state: dict[str, Any]) -> str:
    """From the zip, as File › Drop does, and enabled."""
    done = bpy.ops.extensions.package_install_files(filepath=str(state["zip"]), repo="user_default",
                                                    enable_on_install=True, overwrite=True)
    assert done == {"FINISHED"} and MODULE in bpy.context.preferences.addons, "the add-on is not enabled"
    return f"{state['zip'].stat().st_size / 1e6:.1f} MB"


def add_head(state: dict[str, Any]) -> str:
    """The built-in head."""
    assert bpy.ops.parley.add_head() == {"FINISHED"}
    state["mesh"] = next(item.name for item in bpy.data.objects if item.type == "MESH" and item.data.shape_keys
                         and len(item.data.shape_keys.key_blocks) > 50)
    keys = bpy.data.objects[state["mesh"]].data.shape_keys
    driven = len(keys.animation_data.drivers)
    if any(not driver.driver.is_valid for driver in keys.animation_data.drivers):
        raise AssertionError("A driver of the head's shape keys is invalid.")
    return f"{len(keys.key_blocks) - 1 - driven} shape keys"


def animate(state: dict[str, Any]) -> str:
    """The sample, by the instant engine, and nothing but it."""
    scene = bpy.context.scene
    scene.parley_speech.source, scene.parley_performance.engine = "SAMPLE", "INSTANT"
    begun = time.perf_counter()
    assert bpy.ops.parley.animate() == {"FINISHED"}
    spent = time.perf_counter() - begun
    state["seen"] = seen(state["mesh"])
    assert max(state["seen"].values()) > 0.1, "nothing moves"
    return f"{sum(map(len, keyed().values()))} curves in {spent:.2f} s"


def save(state: dict[str, Any]) -> str:
    """To a file."""
    state["file"] = state["folder"] / "scene.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(state["file"]))
    return f"{state['file'].stat().st_size / 1e6:.1f} MB"


def reopen(state: dict[str, Any]) -> str:
    """The file, after another one was open: keys and what is seen are the same, settings too."""
    before = keyed()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    assert not keyed()
    bpy.ops.preferences.addon_enable(module=MODULE)
    bpy.ops.wm.open_mainfile(filepath=str(state["file"]))
    assert keyed() == before and before, "other keys than were saved"
    again = seen(state["mesh"])
    assert all(abs(again[name] - value) < 1e-5 for name, value in state["seen"].items()), "the face looks different"
    assert bpy.context.scene.parley_performance.engine == "INSTANT"
    return f"{sum(count for curves in before.values() for count in curves.values())} keys"


def remove(state: dict[str, Any]) -> str:
    """Disable it: nothing is left behind, the keys stay."""
    bpy.ops.preferences.addon_disable(module=MODULE)
    assert not hasattr(bpy.types.Scene, "parley_speech") and keyed()
    return "clean"


def keyed() -> dict[str, dict[str, int]]:
    """Action → curve → number of keys, of what Parley made."""
    found: dict[str, dict[str, int]] = {}
    for action in bpy.data.actions:
        if not action.name.startswith("Parley"):
            continue
        curves = ([curve for layer in action.layers for strip in layer.strips for bag in strip.channelbags
                   for curve in bag.fcurves] if hasattr(action, "layers") else list(action.fcurves))
        found[action.name] = {f"{curve.data_path}[{curve.array_index}]": len(curve.keyframe_points) for curve in curves}
    return found


def seen(name: str) -> dict[str, float]:
    """The widest that the mouth's and the lids' shapes go in a few frames, evaluated."""
    keys, widest = bpy.data.objects[name].data.shape_keys, {}
    for frame in range(1, 120, 7):
        bpy.context.scene.frame_set(frame)
        values = keys.evaluated_get(bpy.context.evaluated_depsgraph_get()).key_blocks
        for part in ("jawOpen", "mouthFunnel", "eyeBlinkLeft"):
            widest[part] = max(widest.get(part, 0.0), float(values[part].value))
    return widest


if __name__ == "__main__":
    # Blender ends with its own code otherwise; the bpy module crashes at exit in some versions.
    sys.stdout.flush()
    os._exit(main())
