"""Whether EEVEE draws on this computer, found out where it hurts nobody: in a Blender of its own, without a window."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from .worker_client import clean_environment

PATIENCE = 180.0
SCRIPT = """
import bpy, os, sys
scene = bpy.context.scene
for item in list(bpy.data.objects): bpy.data.objects.remove(item)
scene.camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
scene.collection.objects.link(scene.camera)
scene.render.engine = ENGINE
scene.world = scene.world or bpy.data.worlds.new("World")
scene.world.color = (1, 1, 1)
scene.render.resolution_x = scene.render.resolution_y = 8
scene.render.resolution_percentage = 100
scene.render.filepath = PATH
scene.render.image_settings.file_format = "PNG"
bpy.ops.render.render(write_still=True)
image = bpy.data.images.load(PATH)
print("PARLEY PROBE", max(image.pixels[:]))
"""


class Probe:
    """One test picture in a child process; `tick` looks whether it is there.

    Attributes
    ----------
    running : until it is there, failed, or took too long
    text : the outcome in a sentence
    """

    def __init__(self, program: Sequence[str], engine: str) -> None:
        self.running, self.text = True, ""
        self._began = time.monotonic()
        self._folder = tempfile.TemporaryDirectory(prefix="parley_probe")
        path = os.path.join(self._folder.name, "probe.png")
        script = SCRIPT.replace("ENGINE", repr(engine)).replace("PATH", repr(path))
        self._log = open(os.path.join(self._folder.name, "log"), "w+b")  # noqa: SIM115 - it lives as long as the child
        hidden = {"creationflags": subprocess.CREATE_NO_WINDOW} if sys.platform == "win32" else {}
        try:
            self._child: subprocess.Popen | None = subprocess.Popen(
                [*program, script], stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT,
                env=clean_environment(os.environ), **hidden)
        except OSError as error:
            self._child = None
            self._end(f"could not be tested ({error.strerror})")

    def tick(self) -> bool:
        """Look; returns whether it still runs."""
        if self.running and self._child is not None:
            code, spent = self._child.poll(), time.monotonic() - self._began
            if code is not None:
                self._log.seek(0)
                said = self._log.read().decode("utf-8", "replace")
                drawn = "PARLEY PROBE 1" in said
                self._end(f"draws (a test picture in {spent:.0f} s, program start included)" if drawn else
                          f"does not draw here (exit code {code}); films fall back on Workbench")
            elif spent > PATIENCE:
                self.cancel()
                self._end(f"gave no picture in {PATIENCE:.0f} s; films fall back on Workbench")
        return self.running

    def cancel(self) -> None:
        """Stop it."""
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        if self.running:
            self._end("was not tested")

    def wait(self) -> None:
        """Until it is over, for scripts."""
        while self.tick():
            time.sleep(0.05)

    def _end(self, text: str) -> None:
        self.running, self.text = False, text
        self._log.close()
        self._folder.cleanup()


def program(blender: str) -> list[str]:
    """What runs the script: Blender itself, or the Python whose module Blender is."""
    if blender:
        return [blender, "-b", "--factory-startup", "--python-exit-code", "1", "--python-expr"]
    return [sys.executable, "-c"]
