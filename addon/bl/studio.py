"""Materials of a head that stands in for nobody: skin that light sinks into, wet eyes, teeth and lips, hair.

All of them are eq. C = t Σ γ_b Φ_b(n) (see `materials`) with cheap stand-ins on top: light that has travelled through
skin loses its direction, the red part most of all, so the bands above the mean are weakened by channel; a lobe about
the half vector and a sheen at grazing angles are what the surface throws back. They emit, so they need no lamp.
"""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..core.pose import SH_FACTORS, spherical_harmonics
from . import materials
from .materials import feed, math, new, vector

GROUP_NAME = "Parley Studio Light"
GLOSS = "parley_gloss"
"""Vertex attribute of the skin: 1 where it is wet."""
RIM, RIM_WIDTH = 1.1, 2.2
"""Strength of the lamp behind the head, as a share of the key's, and how narrow its line is."""
CHIN_SHADE, JAW_RISE = 0.3, 0.6
"""How much of the light the jaw keeps from the neck, and how steeply its line rises backwards."""
OUT, OUT_SHARE = (0.0, 0.016), 0.95
"""Metres behind the lips between which a tongue comes out of their shade, and the share of the light it gets there."""
RED_SHIFT = (0.0, 0.38, 0.45)
"""How much darker than red light green and blue get where little of it arrives."""


@dataclass(frozen=True)
class Surface:
    """What tells materials apart in the light's group.

    Attributes
    ----------
    scatter : RGB, share of the light that loses its direction
    soft, wet : strengths of the broad and of the narrow highlight
    sharp : exponent of the narrow one
    sheen : strength at grazing angles
    view : weight of the view in the half vector; more than 1 keeps a highlight nearer to the middle, as a cornea,
        rounder than its eyeball, does
    """

    scatter: tuple[float, float, float] = (0.0, 0.0, 0.0)
    soft: float = 0.0
    wet: float = 0.0
    sharp: float = 50.0
    sheen: float = 0.0
    view: float = 1.0


SKIN = Surface((0.34, 0.12, 0.04), 0.16, 0.10, 38.0, 0.20)
SURFACES = {
    "skin": SKIN,
    "hair": SKIN,
    "lids": Surface((0.30, 0.10, 0.05), 0.1, 0.9, 60.0, 0.2),
    "lips": Surface((0.30, 0.10, 0.06), 0.2, 0.5, 50.0, 0.1),
    "teeth": Surface((0.10, 0.08, 0.05), 0.1, 0.55, 60.0, 0.1),
    "gums": Surface((0.25, 0.1, 0.08), 0.1, 0.8, 70.0, 0.1),
    "tongue": Surface((0.30, 0.12, 0.1), 0.1, 0.45, 40.0, 0.1),
    "mouth": Surface((0.25, 0.1, 0.1), 0.1, 0.3, 50.0, 0.0),
    "eye": Surface((0.12, 0.08, 0.06), 0.03, 3.6, 300.0, 0.05, 2.8),
}


@dataclass(frozen=True)
class Setting:
    """What the materials of one head share: `light` (9, 3), `detail` image, `hair` colour, the eyes' centres (2, 3) in
    the mesh's own axes and their radius in metres (None: the model has no eyeballs), Y and Z of the `chin` there."""

    light: np.ndarray
    detail: Path | None
    hair: tuple[float, float, float]
    eyes: np.ndarray | None
    radius: float
    chin: tuple[float, float] | None = None


def add(mesh: bpy.types.Mesh, names: list[str], setting: Setting) -> None:
    """Give `mesh` one material slot for each of `names`."""
    group = light_group(setting.light)
    image = materials.load_image(setting.detail) if setting.detail is not None else None
    if image is not None:
        image.alpha_mode = "CHANNEL_PACKED"
    lips = _lips(mesh)
    for name in names:
        material, shown = materials.emitter(f"Parley {name}")
        kind = materials.kind_of(name)
        surface = SURFACES.get(name, SURFACES.get(kind, SKIN))
        _build(material.node_tree, shown, group, kind, surface, image, setting)
        if name == "tongue" and lips is not None:
            _put_out(material.node_tree, lips)
        mesh.materials.append(material)


def key_light(light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Direction (3,) in camera axes from which most of `light` (9, 3) comes, and how much more by channel (3,) ≥ 0."""
    towards = light[[3, 1, 2]].sum(1)
    length = float(np.linalg.norm(towards))
    direction = towards / length if length > 1e-6 else np.array([-0.5, -0.6, -0.6])
    both = spherical_harmonics(np.stack([direction, -direction])) @ light
    return direction, np.clip((both[0] - both[1]) / 2, 0, None)


def light_group(light: np.ndarray) -> bpy.types.ShaderNodeTree:
    """The node group that lights an albedo by `light` (9, 3), which stands in it as nine RGB vectors to edit."""
    tree: Any = bpy.data.node_groups.new(GROUP_NAME, "ShaderNodeTree")
    sockets = (("Albedo", "NodeSocketColor", (1, 1, 1, 1)), ("Shade", "NodeSocketFloat", 1.0),
               ("Fold", "NodeSocketFloat", 1.0), ("Scatter", "NodeSocketVector", (0, 0, 0)),
               ("Soft", "NodeSocketFloat", 0.0), ("Wet", "NodeSocketFloat", 0.0), ("Sharp", "NodeSocketFloat", 50.0),
               ("Sheen", "NodeSocketFloat", 0.0), ("View", "NodeSocketFloat", 1.0))
    for name, kind, value in sockets:
        tree.interface.new_socket(name, in_out="INPUT", socket_type=kind).default_value = value
    tree.interface.new_socket("Color", in_out="OUTPUT", socket_type="NodeSocketColor")
    entry, leave = new(tree, "NodeGroupInput", (-1800, 600)), new(tree, "NodeGroupOutput", (2200, 0))
    given = entry.outputs
    normal = materials.camera_normal(tree)
    whole = materials.irradiance(tree, normal, np.asarray(light, np.float64))
    even = _even(tree)
    away = vector(tree, "SUBTRACT", (650, 300), even, whole)
    sunk = vector(tree, "MULTIPLY_ADD", (800, 200), away, given["Scatter"], whole)
    arriving = _red_shift(tree, given["Shade"])
    lit = vector(tree, "MULTIPLY", (1200, 100), vector(tree, "MULTIPLY", (1000, 100), sunk, arriving), given["Albedo"])
    thrown = vector(tree, "SCALE", (1500, -200), _thrown(tree, normal[3], light, whole, given),
                    scale=math(tree, "MULTIPLY", (1300, -300), given["Shade"], given["Fold"]))
    tree.links.new(vector(tree, "ADD", (2000, 0), lit, thrown), leave.inputs["Color"])
    return tree


def _even(tree: Any) -> Any:
    """Socket of the light averaged over all normals that face the camera, by their share in the picture."""
    flat = vector(tree, "SCALE", (300, 400), tree.nodes["gamma0"].outputs[0], scale=float(SH_FACTORS[0]))
    front = vector(tree, "SCALE", (300, 300), tree.nodes["gamma2"].outputs[0], scale=-2 / 3 * float(SH_FACTORS[2]))
    return vector(tree, "ADD", (400, 300), flat, front)


def _red_shift(tree: Any, share: Any) -> Any:
    """Socket of RGB factors for the `share` of the light that arrives: what is left in hollows is red."""
    lack = math(tree, "SUBTRACT", (600, -100), share, 1.0)
    hue = vector(tree, "ADD", (800, -100), vector(tree, "SCALE", (700, -100), RED_SHIFT, scale=lack), (1.0, 1.0, 1.0))
    return vector(tree, "SCALE", (900, -100), hue, scale=share)


def _thrown(tree: Any, normal: Any, light: np.ndarray, whole: Any, given: Any) -> Any:
    """Socket of what the surface throws back: two lobes about the half vector and the sheen at grazing angles."""
    direction, strength = key_light(light)
    view = camera_view(tree)
    leaning = vector(tree, "SCALE", (-600, -900), view, scale=given["View"])
    half = vector(tree, "NORMALIZE", (-400, -900), vector(tree, "ADD", (-500, -900), leaning, tuple(direction)))
    facing = math(tree, "MAXIMUM", (-200, -900), vector(tree, "DOT_PRODUCT", (-300, -900), normal, half), 0.0)
    soft = math(tree, "MULTIPLY", (0, -800), math(tree, "POWER", (-100, -800), facing, 9.0), given["Soft"])
    narrow = math(tree, "POWER", (-100, -1000), facing, given["Sharp"])
    lobes = math(tree, "MULTIPLY_ADD", (100, -900), narrow, given["Wet"], soft)
    shown = vector(tree, "SCALE", (300, -900), tuple(strength), scale=lobes)
    edge = math(tree, "SUBTRACT", (-200, -1200), 1.0,
                math(tree, "ABSOLUTE", (-300, -1200), vector(tree, "DOT_PRODUCT", (-400, -1200), normal, view)))
    grazing = math(tree, "MULTIPLY", (0, -1200), math(tree, "POWER", (-100, -1200), edge, 4.0), given["Sheen"])
    shown = vector(tree, "ADD", (500, -1000), shown, rim(tree, normal, view, light))
    return vector(tree, "ADD", (600, -900), shown, vector(tree, "SCALE", (300, -1200), whole, scale=grazing))


def rim(tree: Any, normal: Any, view: Any, light: np.ndarray) -> Any:
    """Socket of what a lamp behind the head, across from the key light, throws around its edge.

    The bands of spherical harmonics that the light is kept in are too broad for such a lamp.
    """
    direction, strength = key_light(light)
    behind = np.array([-np.sign(direction[0]) * 0.86, -0.34, 0.38])
    # Named in the node editor: an artist turns the lamp down, or colours it, here.
    lamp = new(tree, "ShaderNodeVectorMath", (300, -1500), operation="SCALE", name="Rim", label="Rim light")
    lamp.inputs[0].default_value = tuple(strength)
    towards = vector(tree, "DOT_PRODUCT", (-300, -1500), normal, tuple(behind))
    facing = math(tree, "MAXIMUM", (-200, -1500), towards, 0.0)
    edge = math(tree, "SUBTRACT", (-200, -1600), 1.0,
                math(tree, "MAXIMUM", (-300, -1600), vector(tree, "DOT_PRODUCT", (-400, -1600), normal, view), 0.0))
    around = math(tree, "MULTIPLY", (0, -1500), facing, math(tree, "POWER", (-100, -1600), edge, RIM_WIDTH))
    feed(tree, lamp.inputs["Scale"], math(tree, "MULTIPLY", (100, -1500), around, RIM))
    return lamp.outputs[0]


def camera_view(tree: Any) -> Any:
    """Socket of the unit vector towards the viewer in camera axes (see `space.to_opencv`)."""
    return materials.camera_axes(tree, new(tree, "ShaderNodeNewGeometry", (-1900, -900)).outputs["Incoming"])[3]


def _build(tree: Any, shown: Any, group: Any, kind: str, surface: Surface, image: bpy.types.Image | None,
           setting: Setting) -> None:
    lit = new(tree, "ShaderNodeGroup", (0, 0), node_tree=group)
    lit.inputs["Scatter"].default_value = surface.scatter
    for name in ("soft", "wet", "sharp", "sheen", "view"):
        lit.inputs[name.title()].default_value = getattr(surface, name)
    albedo: Any = new(tree, "ShaderNodeAttribute", (-900, 0), attribute_name="parley_albedo").outputs["Color"]
    if image is not None:
        albedo, fold = _detailed(tree, albedo, image, setting.hair if kind == "skin" else None)
        if kind == "skin":
            feed(tree, lit.inputs["Fold"], fold)
    feed(tree, lit.inputs["Albedo"], albedo)
    if kind == "eye" and setting.eyes is not None:
        feed(tree, lit.inputs["Shade"], _under_lids(tree, setting.eyes, setting.radius))
    elif kind == "mouth":
        depth = new(tree, "ShaderNodeAttribute", (-500, -200), attribute_name="parley_shade").outputs["Fac"]
        arriving = math(tree, "MULTIPLY", (-150, -300), depth, materials.opening(tree))
        feed(tree, lit.inputs["Shade"], math(tree, "MULTIPLY_ADD", (-50, -300), arriving, 0.88, 0.12))
    elif kind == "skin" and surface is SKIN:
        gloss = new(tree, "ShaderNodeAttribute", (-500, -500), attribute_name=GLOSS).outputs["Fac"]
        feed(tree, lit.inputs["Wet"], math(tree, "MULTIPLY_ADD", (-300, -500), gloss, 0.55, surface.wet))
        if setting.chin is not None:
            feed(tree, lit.inputs["Shade"], _under_chin(tree, setting.chin))
    tree.links.new(lit.outputs["Color"], shown)


def _detailed(tree: Any, albedo: Any, image: bpy.types.Image,
              hair: tuple[float, float, float] | None) -> tuple[Any, Any]:
    """Sockets of the vertices' colours with the detail image's factors and hair, and of how open the surface is."""
    # Closest for the reason given in `materials._build`.
    detail = new(tree, "ShaderNodeTexImage", (-900, -250), image=image, extension="EXTEND", interpolation="Closest")
    double = vector(tree, "SCALE", (-650, -150), detail.outputs["Color"], scale=2.0)
    fine = vector(tree, "MULTIPLY", (-500, 0), albedo, double)
    if hair is None:
        return fine, None
    colour = new(tree, "ShaderNodeRGB", (-900, 200), name="Hair", label="Hair")
    colour.outputs[0].default_value = (*hair, 1)
    towards = vector(tree, "SUBTRACT", (-500, 200), colour.outputs[0], fine)
    mixed = vector(tree, "ADD", (-250, 100), fine,
                   vector(tree, "SCALE", (-350, 200), towards, scale=detail.outputs["Alpha"]))
    parts = new(tree, "ShaderNodeSeparateXYZ", (-500, -300))
    tree.links.new(double, parts.inputs[0])
    return mixed, math(tree, "MULTIPLY", (-350, -300), parts.outputs[1],
                       math(tree, "SUBTRACT", (-400, -400), 1.0, detail.outputs["Alpha"]))


def _lips(mesh: bpy.types.Mesh) -> float | None:
    """Y, in the mesh's own axes, of the lips' foremost point; None where the mesh names no lips."""
    if GLOSS not in mesh.attributes:
        return None
    gloss, place = np.empty(len(mesh.vertices), np.float32), np.empty(3 * len(mesh.vertices), np.float32)
    mesh.attributes[GLOSS].data.foreach_get("value", gloss)
    mesh.vertices.foreach_get("co", place)
    front = place.reshape(-1, 3)[gloss > 0.5, 1]
    return float(front.min()) if len(front) else None


def _put_out(tree: Any, lips: float) -> None:
    """Let the light reach what of a tongue is between the `lips` or before them: its shade is that of a shut mouth."""
    group = next(node for node in tree.nodes if node.bl_idname == "ShaderNodeGroup")
    inside = group.inputs["Shade"].links[0].from_socket
    place, parts = new(tree, "ShaderNodeTexCoord", (-1400, -600)), new(tree, "ShaderNodeSeparateXYZ", (-1250, -600))
    tree.links.new(place.outputs["Object"], parts.inputs[0])
    outside = _ramp(tree, parts.outputs[1], lips, 1.0, ((OUT[0], OUT_SHARE), (OUT[1], 0.0)))
    feed(tree, group.inputs["Shade"], math(tree, "MAXIMUM", (50, -300), inside, outside))


def _under_chin(tree: Any, chin: tuple[float, float]) -> Any:
    """Socket of the share of the light that the jaw lets through to the neck behind and below it."""
    place, parts = new(tree, "ShaderNodeTexCoord", (-1400, -1000)), new(tree, "ShaderNodeSeparateXYZ", (-1250, -1000))
    tree.links.new(place.outputs["Object"], parts.inputs[0])
    back, up = math(tree, "SUBTRACT", (-1100, -1000), parts.outputs[1], chin[0]), parts.outputs[2]
    # The jaw's line rises towards the ears.
    below = _ramp(tree, math(tree, "MULTIPLY_ADD", (-950, -1000), back, -JAW_RISE, up), chin[1], 1.0,
                  ((-0.030, 1.0), (-0.006, 0.0)))
    behind = _ramp(tree, back, 0.0, 1.0, ((0.012, 0.0), (0.040, 1.0)))
    fading = _ramp(tree, up, chin[1], 1.0, ((-0.100, 0.1), (-0.015, 1.0)))
    lost = math(tree, "MULTIPLY", (-500, -1000), math(tree, "MULTIPLY", (-600, -1000), below, behind), fading)
    return math(tree, "MULTIPLY_ADD", (-350, -1000), lost, -CHIN_SHADE, 1.0)


def _under_lids(tree: Any, eyes: np.ndarray, radius: float) -> Any:
    """Socket of the share of the light that the lids let through to a point of an eyeball, wherever it looks."""
    place, parts = new(tree, "ShaderNodeTexCoord", (-1400, -600)), new(tree, "ShaderNodeSeparateXYZ", (-1250, -600))
    tree.links.new(place.outputs["Object"], parts.inputs[0])
    rise = _ramp(tree, parts.outputs[2], float(eyes[:, 2].mean()), radius, ((0.0, 1.0), (0.40, 0.42)))
    fall = _ramp(tree, parts.outputs[2], float(eyes[:, 2].mean()), radius, ((-0.42, 0.72), (-0.15, 1.0)))
    side = math(tree, "ABSOLUTE", (-1100, -800), parts.outputs[0])
    offset = math(tree, "SUBTRACT", (-950, -800), side, float(abs(eyes[:, 0]).mean()))
    aside = math(tree, "ABSOLUTE", (-800, -800), offset)
    corner = _ramp(tree, aside, 0.0, radius, ((0.40, 1.0), (0.95, 0.62)))
    return math(tree, "MULTIPLY", (-350, -700), math(tree, "MULTIPLY", (-500, -700), rise, fall), corner)


def _ramp(tree: Any, value: Any, middle: float, unit: float, ends: tuple[tuple[float, float], ...]) -> Any:
    """Socket of `value` mapped smoothly between two (place, result), places in `unit` from `middle`."""
    node = new(tree, "ShaderNodeMapRange", (-700, -700), interpolation_type="SMOOTHSTEP")
    (low, first), (high, last) = ends
    for name, number in (("From Min", middle + low * unit), ("From Max", middle + high * unit), ("To Min", first),
                         ("To Max", last)):
        node.inputs[name].default_value = number
    feed(tree, node.inputs["Value"], value)
    return node.outputs["Result"]
