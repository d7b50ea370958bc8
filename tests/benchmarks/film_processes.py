"""What a second Blender brings."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from ml_backend.blender import find_blender
from ml_backend.blender_crew import Crew
from tests.benchmarks.film_render import files
from tests.benchmarks.report import Figure

SHARED = 60


def measure(options: argparse.Namespace) -> list[Figure]:
    """Speed of two processes over that of one, processes already started."""
    blender, work = find_blender(options.blender), (options.cache / "film_processes").resolve()
    spent = []
    for count in (1, 2):
        job = files(work / f"by_{count}", SHARED, 256)
        crew = Crew(blender, work / f"by_{count}" / "jobs", work / f"by_{count}" / "log", processes=count)
        try:
            crew.run({**job, "output": str(work / "warm")}, "warm", frames=SHARED)
            for path in Path(job["output"]).glob("*.png"):
                path.unlink()
            start = time.perf_counter()
            crew.run(job, "timed", frames=SHARED)
            spent.append(time.perf_counter() - start)
        finally:
            crew.close()
            for path in (work / "warm").glob("*.png"):
                path.unlink()
    return [Figure("processes", "two processes over one", spent[0] / spent[1], "x", note=f"{SHARED} frames of 256²")]
