"""The built-in head: ``python -m blender_assets.head.build`` writes `parley_head.npz` from
`statistics.npz`."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from blender_assets.head import expressions, eyes, fields, geometry, identity, learn_expressions, learn_texture, surface
from blender_assets.head import landmarks as lm
from blender_assets.head.arkit import ARKIT_52
from blender_assets.head.learn_statistics import SCHEMA, VERSION
from blender_assets.head.part import Part
from ml_backend.artefacts.schema import load_npz
from ml_backend.face_model.model import FaceModel, save

HERE = Path(__file__).parent
# Charts of the parts in the unit square: lower left corner and size.
CHARTS = {
    "skin": (0.0, 0.25, 0.75),
    "eye_left": (0.76, 0.76, 0.23),
    "eye_right": (0.76, 0.52, 0.23),
    "mouth_bag": (0.76, 0.28, 0.23),
    "teeth_upper": (0.01, 0.01, 0.23),
    "teeth_lower": (0.26, 0.01, 0.23),
    "tongue": (0.51, 0.01, 0.23),
    "ear_left": (0.76, 0.02, 0.11),
    "ear_right": (0.88, 0.02, 0.11),
    "lids_left": (0.76, 0.15, 0.11),
    "lids_right": (0.88, 0.15, 0.11),
}


def place(part: Part) -> np.ndarray:
    """(V, 2) texture coordinates of `part` in the whole head's square."""
    left, bottom, size = CHARTS[part.name]
    return np.array([left, bottom]) + size * part.uv


def assemble(
    statistics: dict[str, np.ndarray],
    colours: dict[str, np.ndarray],
    learned: dict[str, np.ndarray] | None = None,
) -> FaceModel:
    """The FaceModel of the head from the learned `statistics` of shape and `colours` of skin.

    `learned` maps names of expressions to what `learn_expressions` adds to them, (468, 3) metres each.
    """
    mirror = statistics["mirror"]
    head = geometry.build(statistics["mean"], mirror)
    on = fields.canvas(head, mirror, learned)
    starts = np.cumsum([0, *(len(part.vertices) for part in head.parts)])
    number = {part.name: index for index, part in enumerate(head.parts)}
    faces = np.concatenate(
        [
            np.where(part.faces < 0, -1, part.faces + start)
            for part, start in zip(head.parts, starts, strict=False)
        ]
    ).astype(np.int32)
    materials = np.concatenate([part.materials for part in head.parts])
    iris = [
        starts[number[f"eye_{side}"]] + vertex
        for side in ("right", "left")
        for vertex in eyes.iris_vertices()
    ]
    region_names, regions = surface.regions(on)
    grown = regions[region_names.index("scalp")][faces[:, :3]].mean(1) > 0.5
    materials = np.where(grown & (materials == "skin"), "hair", materials)
    names = list(dict.fromkeys(materials.tolist()))
    texture_mean, texture_basis = surface.texture(on, colours)
    joints = np.stack([geometry.HEAD_PIVOT, geometry.JAW_AXIS, head.eye_left, head.eye_right])
    return FaceModel(
        name=np.array("parley"),
        mean_shape=np.concatenate([part.vertices for part in head.parts]).astype(np.float32),
        identity_basis=identity.build(on, statistics).astype(np.float32),
        expression_basis=expressions.build(on).astype(np.float32),
        expression_names=np.array(ARKIT_52),
        texture_mean=texture_mean.astype(np.float32),
        texture_basis=texture_basis.astype(np.float32),
        faces=faces,
        uv=np.concatenate([place(part) for part in head.parts]).astype(np.float32),
        face_uvs=faces.copy(),
        face_material=np.array([names.index(name) for name in materials], np.int32),
        material_names=np.array(names),
        landmark_index=np.arange(lm.COUNT, dtype=np.int32),
        landmark_vertex=np.concatenate([np.arange(lm.FACE_COUNT), iris]).astype(np.int32),
        region_names=np.array(region_names),
        regions=regions.astype(np.float32),
        part_names=np.array([part.name for part in head.parts]),
        vertex_part=np.repeat(np.arange(len(head.parts)), np.diff(starts)).astype(np.int32),
        joint_names=np.array(["head", "jaw", "eye_left", "eye_right"]),
        joints=joints.astype(np.float32),
    )


def main() -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--statistics", type=Path, default=HERE / "statistics.npz")
    parser.add_argument("--out", type=Path, default=HERE / "parley_head.npz")
    parser.add_argument("--texture", type=Path, default=HERE / "texture.npz")
    parser.add_argument("--expressions", type=Path, default=HERE / "expressions.npz")
    parser.add_argument("--designed", action="store_true", help="shapes as designed, without learned corrections")
    options = parser.parse_args()
    learned = {}
    if not options.designed:
        data = load_npz(options.expressions, learn_expressions.SCHEMA, learn_expressions.VERSION)
        learned = dict(zip(data["names"].tolist(), data["corrections"].astype(np.float64), strict=True))
    save(
        assemble(
            load_npz(options.statistics, SCHEMA, VERSION),
            load_npz(options.texture, learn_texture.SCHEMA, learn_texture.VERSION),
            learned,
        ),
        options.out,
    )


if __name__ == "__main__":
    main()
