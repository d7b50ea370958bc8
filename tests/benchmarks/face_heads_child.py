"""Runs in Blender: draws the heads of a job with the add-on's rig, materials, camera and renderer, all in one process.

The job names `heads` (an .npz of `face_heads`), `face_model`, `output`, `size` and `samples`.
"""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Draw the job named last on the command line."""
    sys.path.insert(0, str(ROOT))
    from tests.benchmarks.child import serve

    return serve(lambda job, channel: {"rendered": draw(job, channel)})


def draw(job: dict, channel) -> int:
    """Render every head whose picture is not there yet; returns how many there were."""
    import bpy

    from addon.bl import render, scene
    from addon.core import character, face_model, look

    model = face_model.load(job["face_model"])
    worn = look.beside(job["face_model"], model)
    with np.load(job["heads"], allow_pickle=False) as data:
        heads = {name: data[name] for name in data.files}
    folder, size = Path(job["output"]), int(job["size"])
    folder.mkdir(parents=True, exist_ok=True)
    scene.empty_file()
    render.configure(bpy.context.scene, "eevee", (size, size), int(job["samples"]))
    person = replace(character.average(model), size=np.array([size, size], np.int32))
    count = drawn = len(heads["pose"])
    for number in range(count):
        path = folder / f"{number:06d}.png"
        if path.exists():
            drawn -= 1
            continue
        one(model, person, worn, {name: values[number] for name, values in heads.items() if name != "names"
                            and values.ndim and len(values) == count}, [str(name) for name in heads["names"]])
        bpy.context.scene.render.filepath = str(path)
        bpy.ops.render.render(write_still=True)
        channel.progress("render", number + 1, count)
    return drawn


def one(model, person, worn, head: dict[str, np.ndarray], names: list[str]) -> None:
    """Leave the scene with this head and its camera alone."""
    import bpy

    from addon.bl import camera, rig

    for item in list(bpy.data.objects):
        bpy.data.objects.remove(item)
    bpy.data.orphans_purge(do_recursive=True)
    person = replace(person, neutral_shape=head["neutral"], low_albedo=head["albedo"], light=head["light"],
                     focal=np.array(float(head["focal"])), hair=head["hair"])
    pose = head["pose"].astype(float)
    # The root of the neck stays upright, as shoulders do when a head turns.
    rest = np.concatenate([np.zeros(3), pose[3:]])
    built = rig.build(model, person, None, rest, worn)
    for name, value in zip(names, head["expression"], strict=True):
        built.keys.key_blocks[name].value = float(value)
    rig.set_pose(built, pose)
    bpy.context.scene.camera = camera.add("Camera", float(head["focal"]), person.size, built.origin)


if __name__ == "__main__":
    sys.exit(main())
