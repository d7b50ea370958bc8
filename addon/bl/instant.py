"""The instant engine in Blender: where its files lie, and starting it on a sound, in a thread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..core import performance as performances
from ..core.instant import engine, sound
from ..core.instant.options import Options
from ..core.thread_job import Report
from . import audio, worker

TEXT_NOTE = "The text was not used: only the backend aligns it with the sound. The lips go by the sound alone."


def asset(name: str, folder: str) -> Path:
    """A file that comes with the add-on: in the extension's folder, or below ``blender_assets`` in the source tree."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "assets" / name
    return inside if inside.is_file() else package.parent / "blender_assets" / folder / name


def assets() -> engine.Assets:
    """What the engine reads."""
    return engine.Assets(asset("motion.safetensors", "models").parent, asset("parley_head.npz", "head"))


def sample() -> Path:
    """The speech that comes with the add-on."""
    return asset("sample.wav", "speech")


def start(options: dict[str, Any], title: str, finish: worker.Finish) -> None:
    """Begin a job like ``worker.start("animate", …)``, in this Blender: the same options, the same result.

    Raises
    ------
    UserInputError
        If another job runs, the sound can't be read, or the options ask for what only the backend can do.
    """
    chosen, out = Options.of(options), Path(options["out"])
    path = Path(options["speech"]) if "speech" in options else sample()
    read, files = audio.reader(path, out.parent), assets()

    def work(report: Report) -> dict[str, Any]:
        def pulse() -> None:
            report("Reading the sound", 0, len(engine.STAGES))

        pulse()
        samples = sound.speech(*read(pulse), str(path), pulse)
        act = engine.perform(samples, files, chosen, report)
        performances.save(act, out)
        return {**engine.figures(act), "speech": str(path)}

    worker.start_thread(work, title, finish, [TEXT_NOTE] if options.get("text") else [])
