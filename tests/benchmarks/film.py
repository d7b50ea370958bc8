"""The film's figures: ``python -m tests.benchmarks film [--data FOLDER] [--part NAME …] [--out FILE]``."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from tests.benchmarks.report import Figure, run_parts

ROOT = Path(__file__).resolve().parents[2]
DATA, CACHE = ROOT.parent / "shared" / "data", ROOT / ".cache" / "benchmarks"
PARTS = {"render": "film_render", "processes": "film_processes", "writing": "film_writing",
         "resume": "film_resume", "identity": "film_identity", "plates": "film_plates", "photo": "film_photo"}
"""Part → module of this package with ``measure(options) -> list[Figure]``, imported only when it is run."""


def measure(part: str, options: argparse.Namespace) -> list[Figure]:
    """The figures of one part."""
    return importlib.import_module(f"tests.benchmarks.{PARTS[part]}").measure(options)


def parse(words: list[str]) -> argparse.Namespace:
    """Options of the command line: data, part, out, cache (its folder ``film`` is the parts' own), blender."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks film", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with clips/ and portraits/")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part; may be given several times")
    parser.add_argument("--out", type=Path, help="JSON of all figures")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder for takes and pictures")
    parser.add_argument("--blender", help="a Blender to render with")
    parser.add_argument("--clip", action="append", help="of identity and plates: this clip; may be given several times")
    return parser.parse_args(words)


def main(words: list[str]) -> int:
    """Measure, say and write; 0 if every bar is met, 1 if not, 2 if something is missing."""
    options = parse(words)
    return run_parts(options.part or PARTS, lambda name: measure(name, options), options.out)
