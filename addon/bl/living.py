"""A texture that lives: modes added to a person's albedo as expression and pose have it, by drivers, so that what is
keyed by hand moves wrinkles, lips and light along.

All of a head's materials share one node group, "Parley Living Texture". Every mode's weight is a property of the mesh
object, driven by shape keys and by the rotation of the head's empty.
"""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

from string import ascii_letters
from typing import Any

import bpy
import numpy as np

from ..core.character import Character
from . import materials

GROUP_NAME, IMAGE_NAME = "Parley Living Texture", "Parley living modes"
MODE = "parley_mode_{}"
"""Property of the mesh object: the weight of a mode of the texture."""
TURNS = {"pitch": (0, 1), "yaw": (2, -1), "roll": (1, 1)}
"""Which of the empty's Euler angles turns the head so, and its sign; see `space.pose_to_channels`."""
ZERO = 128 / 255
"""Value of a mode's picture that adds nothing."""
STEPS = 9999
"""Gains are written into a driver as whole numbers up to this: what Blender takes is 255 characters."""
LETTERS = [letter for letter in ascii_letters if letter != "e"]
"""Names of a driver's variables; "e" is Euler's number."""


def group(character: Character) -> Any:
    """The node group that adds the modes of `character` to a colour: input Albedo, output Color."""
    tree: Any = bpy.data.node_groups.new(GROUP_NAME, "ShaderNodeTree")
    tree.interface.new_socket("Albedo", in_out="INPUT", socket_type="NodeSocketColor")
    tree.interface.new_socket("Color", in_out="OUTPUT", socket_type="NodeSocketColor")
    entry, leave = materials.new(tree, "NodeGroupInput", (-600, 0)), materials.new(tree, "NodeGroupOutput", (800, 0))
    image, count = _image(character.living_modes), len(character.living_modes)
    place = materials.new(tree, "ShaderNodeUVMap", (-1000, -200)).outputs[0]
    total, sum_ = entry.outputs["Albedo"], 0.0
    for number, scale in enumerate(character.living_scale):
        height = -260 * number
        # The picture holds the modes one below the other.
        row = materials.vector(tree, "MULTIPLY_ADD", (-800, height), place, (1.0, 1 / count, 1.0),
                               (0.0, (count - 1 - number) / count, 0.0))
        # Closest, as for the albedo: see there.
        mode = materials.new(tree, "ShaderNodeTexImage", (-600, height - 200), image=image, extension="EXTEND",
                             interpolation="Closest")
        tree.links.new(row, mode.inputs["Vector"])
        driven = materials.new(tree, "ShaderNodeAttribute", (-600, height - 500), attribute_type="OBJECT",
                               attribute_name=MODE.format(number))
        weight = materials.math(tree, "MULTIPLY", (-200, height - 500), driven.outputs["Fac"], float(scale))
        total = materials.vector(tree, "MULTIPLY_ADD", (200, height), mode.outputs["Color"], weight, total)
        sum_ = materials.math(tree, "ADD", (0, height - 500), sum_, weight)
    # Every picture stands for itself less `ZERO`.
    away = materials.math(tree, "MULTIPLY", (400, -300), sum_, ZERO)
    total = materials.vector(tree, "SUBTRACT", (500, 0), total, away)
    tree.links.new(materials.vector(tree, "MAXIMUM", (600, 0), total, (0.0, 0.0, 0.0)), leave.inputs["Color"])
    return tree


def _image(modes: np.ndarray) -> bpy.types.Image:
    """A packed image of the modes (M, S, S, 3) uint8, one below the other."""
    count, side = modes.shape[:2]
    image: Any = bpy.data.images.new(IMAGE_NAME, side, count * side, alpha=False)
    image.colorspace_settings.name = "Non-Color"
    image.alpha_mode = "NONE"
    pixels = np.ones((count * side, side, 4), np.float32)
    pixels[..., :3] = modes.reshape(count * side, side, 3)[::-1] / np.float32(255)
    image.pixels.foreach_set(pixels.ravel())
    image.pack()
    return image


def drive(shape: Any, empty: Any, character: Character) -> None:
    """Have the weights of the modes follow the shape keys of `shape` and the rotation of `empty`."""
    keys = shape.data.shape_keys
    for number, gains in enumerate(character.living_gains):
        name = MODE.format(number)
        shape[name] = 0.0
        driver = shape.driver_add(f'["{name}"]').driver
        terms: list[str] = []
        step = max(float(np.abs(gains).max(initial=0)), 1e-9) / STEPS
        for feature, gain in zip(map(str, character.living_names), gains, strict=True):
            whole = round(float(gain) / step)
            if whole and (feature in TURNS or feature in keys.key_blocks) and len(terms) < len(LETTERS):
                letter = LETTERS[len(terms)]
                terms.append(f"{_variable(driver, letter, feature, keys, empty) * whole:+d}*{letter}")
        low, high = (float(value) for value in character.living_limits[number])
        offset = float(character.living_offset[number])
        # Only min, max and arithmetic: Blender works that out itself, also where Python in drivers is switched off.
        driver.expression = f"min(max({offset:.4f}+{step:.4g}*({''.join(terms) or '0'}),{low:.3f}),{high:.3f})"


def _variable(driver: Any, name: str, feature: str, keys: Any, empty: Any) -> int:
    """Add the variable `name` that reads `feature`; returns the sign to take it with."""
    variable = driver.variables.new()
    variable.name = name
    target = variable.targets[0]
    if feature not in TURNS:
        target.id_type, target.id, target.data_path = "KEY", keys, f'key_blocks["{feature}"].value'
        return 1
    axis, sign = TURNS[feature]
    target.id_type, target.id, target.data_path = "OBJECT", empty, f"rotation_euler[{axis}]"
    return sign
