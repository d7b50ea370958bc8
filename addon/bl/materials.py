"""Materials that shade the head by C = t Σ γ_b Φ_b(n) (Yi et al. 2020, §3.1), so that viewport and render agree.

All of a head's materials share one node group, "Parley SH Light", in which γ stands as nine RGB vectors to edit. Values
are display-encoded and meant for the view transform Raw, which passes them through.
"""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..core.pose import SH_FACTORS
from . import compat

GROUP_NAME = "Parley SH Light"
TERMS = ("1", "y", "z", "x", "x y", "y z", "3 z² − 1", "x z", "x² − y²")
GLINT = np.array([-0.20, -0.24, -1.0])
"""Direction, in camera space and from the eye, of the cornea's highlight: a lamp above, to the left."""


OPENING = "parley_opening"
"""Property of the mesh object: the share of the light that gets into the mouth, driven by the expressions."""


def kind_of(name: str) -> str:
    """The class "skin", "eye" or "mouth" of a face model's material `name`."""
    if name in ("sclera", "iris", "pupil", "cornea") or name.startswith("eye"):
        return "eye"
    return "mouth" if name.startswith(("teeth", "tooth", "gum", "mouth", "tongue", "throat", "oral")) else "skin"


def add(mesh: bpy.types.Mesh, names: list[str], light: np.ndarray, texture: Path | None, living: Any = None) -> None:
    """Give `mesh` one material slot for each of `names`, lit by `light` (9, 3); `texture` paints the skin's.

    With the node group `living`, see the module of that name, it paints all of them, and the group has the last word.
    """
    group = light_group(light)
    image = load_image(texture) if texture is not None else None
    for name in names:
        material, emission = emitter(f"Parley {name}")
        kind = kind_of(name)
        painted = kind == "skin" or living is not None
        _build(material.node_tree, emission, group, kind, image if painted else None, living)
        mesh.materials.append(material)


def load_image(path: Path) -> bpy.types.Image:
    """The image at `path` with its values untouched by colour management."""
    image = bpy.data.images.load(str(path), check_existing=True)
    image.colorspace_settings.name = "Non-Color"
    image.alpha_mode = "NONE"
    return image


def set_feather(mesh: bpy.types.Mesh, on: bool) -> None:
    """Let the alpha of every material follow the attribute "parley_face" (or not).

    The emission stays whole and a holdout of 1 − weight lies beside it: alpha falls without noise and without sorting,
    and the image's straight colour stays the shaded colour.
    """
    for material in mesh.materials:
        tree: Any = material.node_tree
        output, emission = tree.nodes["Output"], tree.nodes["Emission"]
        for node in [node for node in tree.nodes if node.label == "Feather"]:
            tree.nodes.remove(node)
        surface = emission.outputs[0]
        if on:
            weight = new(tree, "ShaderNodeAttribute", (0, -300), label="Feather", attribute_name="parley_face")
            holdout = new(tree, "ShaderNodeHoldout", (0, -480), label="Feather")
            mix = new(tree, "ShaderNodeMixShader", (200, -300), label="Feather")
            total = new(tree, "ShaderNodeAddShader", (400, -100), label="Feather")
            tree.links.new(weight.outputs["Fac"], mix.inputs[0])
            tree.links.new(holdout.outputs[0], mix.inputs[1])
            tree.links.new(surface, total.inputs[0])
            tree.links.new(mix.outputs[0], total.inputs[1])
            surface = total.outputs[0]
        tree.links.new(surface, output.inputs["Surface"])


def _blend(material: bpy.types.Material) -> None:
    """Draw in EEVEE's forward pass, front-most surface only: the same picture as deferred, in half the time."""
    material.surface_render_method = "BLENDED"
    compat.set_if_there(material, use_transparency_overlap=False)


def emitter(name: str) -> tuple[bpy.types.Material, Any]:
    """A material that only emits, and the socket of its colour."""
    material = bpy.data.materials.new(name)
    compat.use_nodes(material)
    _blend(material)
    _, emission = _surface(material.node_tree)
    return material, emission.inputs["Color"]


def flat(name: str, colour: tuple[float, float, float]) -> bpy.types.Material:
    """A material that emits `colour` whatever the light."""
    material, socket = emitter(name)
    socket.default_value = (*colour, 1)
    return material


def light_group(light: np.ndarray) -> bpy.types.ShaderNodeTree:
    """The node group that turns an albedo into a lit colour under `light` (9, 3).

    Inputs: Albedo, Shade (1 = all of the light arrives), Glint (strength of the cornea's highlight), Facing (1 = lit as
    if it faced the camera: what lies in the mouth gets its light through the lips, whatever way it looks itself).
    Output: Color.
    """
    tree: Any = bpy.data.node_groups.new(GROUP_NAME, "ShaderNodeTree")
    for name, kind, value in (("Albedo", "NodeSocketColor", (1, 1, 1, 1)), ("Shade", "NodeSocketFloat", 1.0),
                              ("Glint", "NodeSocketFloat", 0.0), ("Facing", "NodeSocketFloat", 0.0)):
        tree.interface.new_socket(name, in_out="INPUT", socket_type=kind).default_value = value
    tree.interface.new_socket("Color", in_out="OUTPUT", socket_type="NodeSocketColor")
    entry = new(tree, "NodeGroupInput", (-1800, 400))
    leave = new(tree, "NodeGroupOutput", (1200, 0))
    normal = camera_normal(tree)
    total = irradiance(tree, _turned(tree, normal, entry.outputs["Facing"]), np.asarray(light, np.float64))
    shaded = vector(tree, "SCALE", (600, 0), total, scale=entry.outputs["Shade"])
    lit = vector(tree, "MULTIPLY", (800, 0), shaded, entry.outputs["Albedo"])
    glint = _glint(tree, normal[3], entry.outputs["Glint"])
    tree.links.new(vector(tree, "ADD", (1000, 0), lit, glint), leave.inputs["Color"])
    return tree


def _build(tree: Any, shown: Any, group: bpy.types.ShaderNodeTree, kind: str, image: bpy.types.Image | None,
           living: Any = None) -> None:
    lit = new(tree, "ShaderNodeGroup", (0, 0), node_tree=group)
    # A living texture has the highlights that the person's own lamps make.
    lit.inputs["Glint"].default_value = 0.55 if kind == "eye" and living is None else 0.0
    lit.inputs["Facing"].default_value = 1.0 if kind == "mouth" else 0.0
    shade = new(tree, "ShaderNodeAttribute", (-300, -200), attribute_name="parley_shade")
    if image is None:
        albedo = new(tree, "ShaderNodeAttribute", (-300, 0), attribute_name="parley_albedo")
    else:
        # Linear would choose a mipmap by screen derivatives, which are wild in triangles thinner than a pixel, and land
        # on the texture's mean: grey specks all over the face. (Cubic takes minutes a frame on software OpenGL.) The
        # texture is finer than the picture, and the samples of a pixel average it.
        albedo = new(tree, "ShaderNodeTexImage", (-300, 0), image=image, extension="EXTEND", interpolation="Closest")
        tree.nodes.active = albedo  # what Workbench and texture painting take
    colour, arriving = albedo.outputs["Color"], shade.outputs["Fac"]
    if living is not None:
        alive = new(tree, "ShaderNodeGroup", (-150, 150), node_tree=living)
        tree.links.new(colour, alive.inputs["Albedo"])
        colour = alive.outputs["Color"]
    elif kind == "mouth":
        # A property of the object rather than a node's value: driving it needs no shader to be built again.
        arriving = math(tree, "MULTIPLY", (-150, -300), arriving, opening(tree))
    tree.links.new(colour, lit.inputs["Albedo"])
    tree.links.new(arriving, lit.inputs["Shade"])
    tree.links.new(lit.outputs["Color"], shown)


def opening(tree: Any) -> Any:
    """Socket of the share of the light that the open lips let in."""
    node = new(tree, "ShaderNodeAttribute", (-500, -350), attribute_type="OBJECT", attribute_name=OPENING)
    return node.outputs["Fac"]


def _surface(tree: Any) -> tuple[Any, Any]:
    """A cleared tree's output and emission nodes, linked."""
    tree.nodes.clear()
    output = new(tree, "ShaderNodeOutputMaterial", (600, 0), name="Output")
    emission = new(tree, "ShaderNodeEmission", (250, 0), name="Emission")
    tree.links.new(emission.outputs[0], output.inputs["Surface"])
    return output, emission


def camera_normal(tree: Any) -> tuple[Any, Any, Any, Any]:
    """Sockets x, y, z of the world normal in camera axes, and the vector of the three."""
    return camera_axes(tree, new(tree, "ShaderNodeNewGeometry", (-1800, 0)).outputs["Normal"])


def camera_axes(tree: Any, world: Any) -> tuple[Any, Any, Any, Any]:
    """Sockets x, y, z of the `world` vector in camera axes (see `space.to_opencv`), and the vector of the three."""
    parts = new(tree, "ShaderNodeSeparateXYZ", (-1600, 0))
    tree.links.new(world, parts.inputs[0])
    x, y, z = parts.outputs[0], math(tree, "MULTIPLY", (-1400, -100), parts.outputs[2], -1.0), parts.outputs[1]
    join = new(tree, "ShaderNodeCombineXYZ", (-1200, -500), label="in camera space")
    for socket, value in zip(join.inputs, (x, y, z), strict=True):
        tree.links.new(value, socket)
    return x, y, z, join.outputs[0]


def irradiance(tree: Any, normal: tuple[Any, Any, Any, Any], light: np.ndarray) -> Any:
    """Socket of Σ γ_b Φ_b(n), not below 0."""
    x, y, z, _ = normal
    squares = {"z": math(tree, "MULTIPLY", (-1000, 0), z, z), "x": math(tree, "MULTIPLY", (-1000, 160), x, x),
               "y": math(tree, "MULTIPLY", (-1000, 320), y, y)}
    values = [1.0, y, z, x, math(tree, "MULTIPLY", (-800, 0), x, y), math(tree, "MULTIPLY", (-800, 160), y, z),
              math(tree, "MULTIPLY_ADD", (-800, 320), squares["z"], 3.0, -1.0),
              math(tree, "MULTIPLY", (-800, 480), x, z),
              math(tree, "SUBTRACT", (-800, 640), squares["x"], squares["y"])]
    total: Any = (0.0, 0.0, 0.0)
    for band, (value, factor, term) in enumerate(zip(values, SH_FACTORS, TERMS, strict=True)):
        place = (-400 + 100 * band, 200 * band)
        gamma = new(tree, "ShaderNodeCombineXYZ", (place[0], place[1] - 150), label=f"γ{band}: {term}",
                     name=f"gamma{band}")
        for socket, number in zip(gamma.inputs, light[band], strict=True):
            socket.default_value = float(number)
        weight = math(tree, "MULTIPLY", place, value, float(factor))
        scaled = vector(tree, "SCALE", (place[0] + 60, place[1]), gamma.outputs[0], scale=weight)
        total = vector(tree, "ADD", (place[0] + 120, place[1]), total, scaled)
    return vector(tree, "MAXIMUM", (500, 0), total, (0.0, 0.0, 0.0))


def _turned(tree: Any, normal: tuple[Any, Any, Any, Any], facing: Any) -> tuple[Any, Any, Any, Any]:
    """`normal` moved by `facing` (0 to 1) to the direction of the camera, −z."""
    x, y, z, whole = normal
    rest = math(tree, "SUBTRACT", (-1100, -300), 1.0, facing)
    towards = math(tree, "SUBTRACT", (-1000, -300), math(tree, "MULTIPLY", (-1050, -200), z, rest), facing)
    return math(tree, "MULTIPLY", (-1050, 0), x, rest), math(tree, "MULTIPLY", (-1050, 100), y, rest), towards, whole


def _glint(tree: Any, normal: Any, strength: Any) -> Any:
    """Socket of the cornea's highlight: a narrow lobe about `GLINT`."""
    direction = GLINT / np.linalg.norm(GLINT)
    cosine = vector(tree, "DOT_PRODUCT", (0, -700), normal, tuple(float(value) for value in direction))
    lobe = math(tree, "POWER", (200, -700), math(tree, "MAXIMUM", (100, -700), cosine, 0.0), 350.0)
    return math(tree, "MULTIPLY", (400, -700), lobe, strength)


def new(tree: Any, kind: str, place: tuple[float, float], **settings: Any) -> Any:
    """A node of `kind` at `place` with `settings`."""
    node = tree.nodes.new(kind)
    node.location = place
    for name, value in settings.items():
        setattr(node, name, value)
    return node


def feed(tree: Any, socket: Any, value: Any) -> None:
    """Link an output socket to `socket`, or set it to a constant."""
    if isinstance(value, bpy.types.NodeSocket):
        tree.links.new(value, socket)
    else:
        socket.default_value = value


def math(tree: Any, operation: str, place: tuple[float, float], *values: Any) -> Any:
    """Output of a math node on sockets or numbers."""
    node = new(tree, "ShaderNodeMath", place, operation=operation)
    for socket, value in zip(node.inputs, values, strict=False):
        feed(tree, socket, value)
    return node.outputs[0]


def vector(tree: Any, operation: str, place: tuple[float, float], *values: Any,
            scale: Any = None) -> Any:
    """Output of a vector math node on sockets or vectors, `scale` for its operation SCALE."""
    node = new(tree, "ShaderNodeVectorMath", place, operation=operation)
    for socket, value in zip(node.inputs, values, strict=False):
        feed(tree, socket, value)
    if scale is not None:
        feed(tree, node.inputs["Scale"], scale)
    return node.outputs["Value" if operation == "DOT_PRODUCT" else "Vector"]
