"""The face's figures: ``python -m tests.benchmarks face --data FOLDER [--heads 200] [--part NAME …] [--out FILE]``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from ml_backend.blender import find_blender
from ml_backend.config import head_model
from ml_backend.face_model.model import load
from tests.benchmarks import face_expressiveness, face_photometric, face_rig, face_roundtrip, face_speed
from tests.benchmarks.face_clips import validation_clips
from tests.benchmarks.report import Figure, run_parts

ROOT = Path(__file__).resolve().parents[2]
DATA, CACHE = ROOT.parent / "shared" / "data", ROOT / ".cache" / "benchmarks"
HEADS = 200


def expressiveness(options: argparse.Namespace) -> list[Figure]:
    """Landmark residuals beside ICT-FaceKit's."""
    clips = validation_clips(options.data, options.cache)
    return face_expressiveness.measure(clips, load(head_model()), options.data)


def roundtrip(options: argparse.Namespace) -> list[Figure]:
    """Random heads drawn and tracked; needs no data."""
    return face_roundtrip.measure(find_blender(options.blender), options.cache, options.heads)


def photometric(options: argparse.Namespace) -> list[Figure]:
    """Re-rendered faces over their frames."""
    clips = validation_clips(options.data, options.cache)
    return face_photometric.measure(clips, find_blender(options.blender), options.cache)


def speed(options: argparse.Namespace) -> list[Figure]:
    """The whole track beside the bare network."""
    return face_speed.measure(validation_clips(options.data, options.cache), load(head_model()))


def rig(options: argparse.Namespace) -> list[Figure]:
    """Building the head in Blender; needs no data."""
    return face_rig.measure(find_blender(options.blender), (options.cache / "rig").resolve())


PARTS: dict[str, Callable[[argparse.Namespace], list[Figure]]] = {
    "expressiveness": expressiveness, "roundtrip": roundtrip, "photometric": photometric, "speed": speed, "rig": rig,
}


def parse(words: list[str]) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks face", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with clips/ and face_models/")
    parser.add_argument("--heads", type=int, default=HEADS, help="random heads of the round trip")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part; may be given several times")
    parser.add_argument("--out", type=Path, help="JSON of all figures")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder for frames, landmarks and pictures")
    parser.add_argument("--blender", help="a Blender to render with")
    return parser.parse_args(words)


def main(words: list[str]) -> int:
    """Measure, say and write; 0 if every bar is met, 1 if not, 2 if something is missing."""
    options = parse(words)
    return run_parts(options.part or PARTS, lambda name: PARTS[name](options), options.out)
