"""*Export*: what is seen of a character, baked on a copy, in a format of other programs."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false, reportInvalidTypeForm=false

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
from bpy_extras.io_utils import ExportHelper

from ...bl import exporters, heads, rig, sampling, targets
from ...core import livelink, performance
from ...core.errors import ParleyError, UserInputError
from ...ui.operator_base import ParleyOperator
from .properties import FORMATS


def character(context: bpy.types.Context) -> tuple[rig.Head | None, list[Any]]:
    """The head that is meant and its meshes, or the selected meshes with shape keys; raises `UserInputError`."""
    picked = [item for item in context.selected_objects if item.type == "MESH" and sampling.blocks(item)]
    try:
        head = rig.find(context.object)
    except UserInputError:
        if picked:
            return None, picked
        try:
            head = heads.current(context)
        except UserInputError:
            return None, targets.usable(context)
    return head, exporters.members(head)


class PARLEY_OT_export(ParleyOperator, bpy.types.Operator, ExportHelper):
    """Write the character as it is seen, with your keys and the amounts, to a file of another program"""

    bl_idname = "parley.export"
    bl_label = "Export…"
    filename_ext = ""
    format: bpy.props.EnumProperty(name="Format", items=FORMATS, options={"SKIP_SAVE", "HIDDEN"})
    filter_glob: bpy.props.StringProperty(default="*.glb;*.fbx;*.usdc;*.usd;*.usda;*.csv;*.npz", options={"HIDDEN"})

    @classmethod
    def disabled_reason(cls, context: bpy.types.Context) -> str | None:
        """No character, or the exporter is switched off."""
        try:
            character(context)
        except ParleyError as error:
            return str(error)
        return exporters.missing(context.scene.parley_export.format)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask for the file, under a name that says which character."""
        self.format = context.scene.parley_export.format
        name = bpy.path.clean_name(character(context)[1][0].name)
        folder = Path(bpy.data.filepath).parent if bpy.data.filepath else Path.home()
        self.filepath = str(folder / name) + exporters.SUFFIXES[self.format]
        self.filename_ext = exporters.SUFFIXES[self.format]
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def check(self, context: bpy.types.Context) -> bool:
        """Keep the ending that the format needs."""
        wanted = str(_ended(Path(self.filepath), self.format))
        changed, self.filepath = wanted != self.filepath, wanted
        return changed

    def perform(self, context: bpy.types.Context) -> str:
        """Play the frames, then write."""
        kind = self.format if self.properties.is_property_set("format") else context.scene.parley_export.format
        path = _ended(Path(bpy.path.abspath(self.filepath)), kind)
        reason = exporters.missing(kind)
        if reason is not None:
            raise UserInputError(reason)
        scene = context.scene
        head, items = character(context)
        watched = [*items, head.empty] if head is not None else items
        span = (scene.frame_start, scene.frame_end)
        if scene.parley_export.span == "SPEECH":
            span = sampling.span(scene, watched)
        manager = context.window_manager
        manager.progress_begin(0, 1)
        try:
            samples = sampling.take(scene, watched, *span, lambda done, total: manager.progress_update(done / total))
            _write(scene, kind, path, samples, items, head)
        finally:
            manager.progress_end()
        return f"Wrote {len(samples.frames)} frames of {items[0].name} to {path.name}."


def _ended(path: Path, kind: str) -> Path:
    suffix = exporters.SUFFIXES[kind]
    kept = path.suffix.lower() == suffix or (kind == "USD" and path.suffix.lower() in (".usd", ".usda", ".usdz"))
    return path if kept else path.with_name((path.name if path.suffix.lower() not in exporters.SUFFIXES.values()
                                             else path.stem) + suffix)


def _write(scene: bpy.types.Scene, kind: str, path: Path, samples: sampling.Samples, items: list[Any],
           head: rig.Head | None) -> None:
    if kind not in ("CSV", "NPZ"):
        exporters.write(scene, kind, path, samples, head.empty if head is not None else None)
        return
    rate = scene.render.fps / scene.render.fps_base
    done = sampling.performance(samples, items[0], head, rate)
    if kind == "CSV":
        livelink.save(done, path, scene.parley_retarget.timecode_fps)
    else:
        performance.save(done, path)
