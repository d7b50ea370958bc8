"""Contact sheet of the head: ``python -m blender_assets.head.sheet OUT.png [--set
views|mouth|eyes|identity] [--wire]``.

Needs the bpy wheel. Cycles on the CPU with few samples, because it needs no display and shows holes and
poke-through.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import bpy
import numpy as np
from mathutils import Vector

from ml_backend.face_model import model as face_model
from ml_backend.face_model.model import FaceModel

HERE = Path(__file__).parent
WHOLE, FACE, MOUTH, EYES = (
    (0.02, 0.36),
    (0.005, 0.20),
    (0.055, 0.10),
    (-0.03, 0.12),
)  # middle's y and height of view, m
Cell = tuple[dict[str, float], float, tuple[float, float]]  # expression weights, yaw in degrees, view


def both(name: str, weight: float = 1.0) -> dict[str, float]:
    """A left and right pair at the same weight."""
    return {f"{name}Left": weight, f"{name}Right": weight}


SETS: dict[str, list[Cell]] = {
    "views": [
        ({}, 0, WHOLE),
        ({}, 40, WHOLE),
        ({}, 90, WHOLE),
        ({}, 150, WHOLE),
        ({}, 0, FACE),
        ({}, 35, FACE),
        ({}, 75, FACE),
        ({"jawOpen": 1.0}, 60, WHOLE),
    ],
    "mouth": [
        ({"jawOpen": 0.3}, 0, FACE),
        ({"jawOpen": 1.0}, 0, FACE),
        ({"jawOpen": 1.0}, 45, FACE),
        ({"jawOpen": 1.0, "mouthClose": 1.0}, 0, FACE),
        (both("mouthSmile"), 0, FACE),
        (both("mouthSmile"), 45, FACE),
        ({"mouthPucker": 1.0}, 0, FACE),
        ({"mouthPucker": 1.0}, 60, FACE),
        ({"mouthFunnel": 1.0}, 0, FACE),
        ({"mouthFunnel": 1.0, "jawOpen": 0.4}, 30, FACE),
        (both("mouthStretch"), 0, FACE),
        (both("mouthFrown"), 0, FACE),
        (both("mouthUpperUp") | both("mouthLowerDown"), 0, FACE),
        ({"mouthRollLower": 1.0, "mouthRollUpper": 1.0}, 0, FACE),
        ({"tongueOut": 1.0, "jawOpen": 0.5}, 20, FACE),
        (both("mouthSmile", 0.7) | {"jawOpen": 0.35}, 0, FACE),
    ],
    "more": [
        ({"mouthLeft": 1.0}, 0, FACE),
        ({"jawLeft": 1.0}, 0, FACE),
        ({"jawForward": 1.0}, 60, FACE),
        ({"mouthShrugLower": 1.0}, 0, FACE),
        ({"mouthShrugUpper": 1.0}, 0, FACE),
        (both("mouthPress"), 0, FACE),
        (both("mouthDimple"), 0, FACE),
        ({"cheekPuff": 1.0}, 20, FACE),
        (both("noseSneer"), 0, FACE),
        (both("cheekSquint"), 0, FACE),
        ({"mouthSmileLeft": 1.0}, 0, FACE),
        ({"tongueOut": 1.0}, 60, FACE),
    ],
    "eyes": [
        ({}, 0, EYES),
        (both("eyeBlink", 0.5), 0, EYES),
        (both("eyeBlink"), 0, EYES),
        (both("eyeBlink"), 50, EYES),
        (both("eyeSquint"), 0, EYES),
        (both("eyeWide"), 0, EYES),
        (both("eyeLookUp"), 0, EYES),
        (both("eyeLookDown"), 0, EYES),
        ({"eyeLookOutLeft": 1.0, "eyeLookInRight": 1.0}, 0, EYES),
        (both("browDown"), 0, EYES),
        ({"browInnerUp": 1.0}, 0, EYES),
        (both("browOuterUp"), 0, EYES),
    ],
    "close": [
        ({}, 0, MOUTH),
        ({}, 40, MOUTH),
        ({"jawOpen": 0.15}, 0, MOUTH),
        ({"jawOpen": 0.5}, 0, MOUTH),
        ({"jawOpen": 1.0}, 0, MOUTH),
        ({"mouthPucker": 1.0}, 0, MOUTH),
        (both("mouthSmile", 0.8), 0, MOUTH),
        ({}, 40, EYES),
    ],
}


def to_blender(points: np.ndarray) -> np.ndarray:
    """(V, 3) in Blender's world (z up, face to −y) of model-space `points` (V, 3)."""
    return points[:, [0, 2, 1]] * [1, 1, -1]


def material(name: str) -> bpy.types.Material:
    """A skin-like material that shows the vertex colours."""
    made = bpy.data.materials.new(name)
    made.use_nodes = True
    shader = made.node_tree.nodes["Principled BSDF"]
    colours = made.node_tree.nodes.new("ShaderNodeVertexColor")
    colours.layer_name = "albedo"
    made.node_tree.links.new(colours.outputs["Color"], shader.inputs["Base Color"])
    shader.inputs["Roughness"].default_value = 0.55 if name == "skin" else 0.3
    return made


def make_object(model: FaceModel, *, wire: bool) -> bpy.types.Object:
    """The head as an object with vertex colours, smooth-shaded, back faces black."""
    mesh = bpy.data.meshes.new("head")
    mesh.from_pydata(
        to_blender(model.mean_shape).tolist(),
        [],
        [[v for v in face if v >= 0] for face in model.faces.tolist()],
    )
    layer = mesh.color_attributes.new("albedo", "FLOAT_COLOR", "POINT")
    linear = np.concatenate(
        [np.clip(model.texture_mean, 0, 1) ** 2.2, np.ones((len(model.texture_mean), 1))], 1
    )
    layer.data.foreach_set("color", linear.astype(np.float32).ravel())
    for name in model.material_names:
        mesh.materials.append(material(str(name)))
    mesh.polygons.foreach_set("material_index", model.face_material)
    mesh.polygons.foreach_set("use_smooth", np.ones(len(mesh.polygons), bool))
    made = bpy.data.objects.new("head", mesh)
    bpy.context.scene.collection.objects.link(made)
    if wire:
        modifier = made.modifiers.new("wire", "WIREFRAME")
        modifier.thickness, modifier.use_replace = 0.0004, False
    return made


def stage(size: int) -> bpy.types.Object:
    """Empty scene with three lights; returns the orthographic camera."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.device, scene.cycles.samples, scene.cycles.use_denoising = "CPU", 12, False
    scene.cycles.max_bounces = 2
    scene.render.threads_mode, scene.render.threads = "FIXED", 2
    scene.render.resolution_x = scene.render.resolution_y = size
    scene.view_settings.view_transform = "Standard"
    scene.world = bpy.data.worlds.new("world")
    scene.world.use_nodes = True
    scene.world.node_tree.nodes["Background"].inputs[0].default_value = (0.55, 0.57, 0.6, 1)
    for energy, turn in ((2.6, (55, 0, 35)), (1.0, (65, 0, -60))):
        light = bpy.data.lights.new("sun", "SUN")
        light.energy, light.angle = energy, 0.3
        lamp = bpy.data.objects.new("sun", light)
        lamp.rotation_euler = np.radians(turn)
        scene.collection.objects.link(lamp)
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.type = "ORTHO"
    scene.collection.objects.link(camera)
    scene.camera = camera
    return camera


def pictures(
    model: FaceModel, cells: list[tuple[np.ndarray, float, tuple[float, float]]], size: int, *, wire: bool
) -> Iterator[np.ndarray]:
    """Render each cell (vertices (V, 3), yaw, view) to a (size, size, 3) float array, top row first."""
    camera = stage(size)
    head = make_object(model, wire=wire)
    with tempfile.TemporaryDirectory() as folder:
        for vertices, yaw, (middle, height) in cells:
            head.data.vertices.foreach_set("co", to_blender(vertices).astype(np.float32).ravel())
            head.data.update()
            focus = Vector((0, 0.07 if height > 0.3 else 0.0, -middle))
            turn = np.radians(yaw)
            camera.location = focus + Vector((np.sin(turn), -np.cos(turn), 0)) * 1.5
            camera.rotation_euler = (np.pi / 2, 0, turn)
            camera.data.ortho_scale = height
            bpy.context.scene.render.filepath = f"{folder}/cell.png"
            bpy.ops.render.render(write_still=True)
            image = bpy.data.images.load(f"{folder}/cell.png", check_existing=False)
            pixels = np.empty(size * size * 4, np.float32)
            image.pixels.foreach_get(pixels)
            bpy.data.images.remove(image)
            yield pixels.reshape(size, size, 4)[::-1, :, :3]


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write `picture` (H, W, 3) in [0, 1], top row first."""
    height, width = picture.shape[:2]
    image = bpy.data.images.new("sheet", width, height)
    image.pixels.foreach_set(np.dstack([picture[::-1], np.ones((height, width))]).astype(np.float32).ravel())
    image.filepath_raw, image.file_format = str(path), "PNG"
    image.save()


def posed(model: FaceModel, weights: dict[str, float]) -> np.ndarray:
    """(V, 3) vertices of the mean face at expression `weights`."""
    names = model.names
    return model.mean_shape + sum(
        (w * model.expression_basis[names.index(name)] for name, w in weights.items()),
        np.zeros_like(model.mean_shape),
    )


def cells_of(model: FaceModel, kind: str) -> list[tuple[np.ndarray, float, tuple[float, float]]]:
    """The cells of the named set; `identity` is random people."""
    if kind != "identity":
        return [(posed(model, weights), yaw, view) for weights, yaw, view in SETS[kind]]
    random = np.random.default_rng(3)
    people = random.normal(size=(12, len(model.identity_basis)))
    return [
        (model.mean_shape + np.tensordot(person, model.identity_basis, 1), 25.0 * (i % 2), FACE)
        for i, person in enumerate(people)
    ]


def main() -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", type=Path, default=HERE / "parley_head.npz")
    parser.add_argument("--set", choices=[*SETS, "identity"], default="views")
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--wire", action="store_true")
    options = parser.parse_args()
    model = face_model.load(options.model)
    cells = list(pictures(model, cells_of(model, options.set), options.size, wire=options.wire))
    columns = 4
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    write_png(
        options.out, np.vstack([np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)])
    )


if __name__ == "__main__":
    main()
