"""What the refiner is judged by is drawn by a character that has not seen it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ml_backend.artefacts import performance as performance_file
from ml_backend.artefacts.face_track import FaceTrack
from ml_backend.data.frames import frame_path, read_png
from ml_backend.reconstruct import unseen as module
from ml_backend.reconstruct.unseen import Chosen, chosen_track
from ml_backend.talk import refining

EMPTY = np.zeros(0)


def track(count: int) -> FaceTrack:
    """A track whose rows say their own numbers."""
    number = np.arange(count, dtype=np.float32)
    points = np.broadcast_to(number[:, None, None], (count, 478, 3)).copy()
    three = np.repeat(number[:, None], 3, 1)
    values: dict[str, Any] = {name: EMPTY for name in FaceTrack.__dataclass_fields__}
    values |= {"landmarks": points, "confidence": number, "expression": np.repeat(number[:, None] / 1000, 2, 1),
               "expression_names": np.array(["jawOpen", "eyeBlinkLeft"]), "rotation": three, "translation": three + 1}
    return FaceTrack(**values)


def test_a_character_does_not_see_the_frames_it_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def make(found: FaceTrack, frames: Chosen, model: object, folder: Path) -> str:
        seen.extend(int(value) for value in found.confidence)
        assert [int(frame[0, 0, 0]) for frame in frames] == seen and len(frames) == len(seen)
        return folder.name

    monkeypatch.setattr(module, "make_character", make)
    frames = [np.full((2, 2, 3), number, np.uint8) for number in range(40)]
    away = np.arange(24, 30)
    assert module.unseen_character(track(40), frames, None, tmp_path / "x", away) == "x"  # type: ignore[arg-type]
    assert seen == [*range(24), *range(30, 40)], "what is not drawn with it, it may learn from"


def test_rows_of_a_track_keep_the_face() -> None:
    found = chosen_track(track(9), np.array([2, 5]))
    assert found.confidence.tolist() == [2, 5] and len(found.landmarks) == 2 and found.identity is EMPTY


class Pencil:
    """Draws a frame's second expression weight as its grey, and says as whom."""

    def __init__(self, model: object, character: str, folder: Path) -> None:
        self.name = folder.name

    def draw(self, expression: np.ndarray, pose: np.ndarray, size: int) -> np.ndarray:
        assert pose[0] == pytest.approx(1000 * expression[1], abs=1e-3), "expression and pose of one frame"
        return np.full((size, size, 4), round(1000 * float(expression[1])), np.uint8)


@pytest.mark.parametrize(("lives", "engine"), [(True, "eevee"), (True, "workbench"), (False, "eevee")])
def test_every_frame_is_drawn_once_and_found_again(lives: bool, engine: str, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """Where drawings of two characters lie, each frame's place is the one drawn with its own expression."""
    who: dict[str, str] = {}
    said: dict[Path, float] = {}

    def render(session: Any, name: str, title: str, settings: dict, job: dict) -> Path:
        spoken = performance_file.load(Path(job["performance"]))
        who[name] = Path(job["character"]).parent.name
        said.update({frame_path(tmp_path / name, index): 1000 * float(weights[1])
                     for index, weights in enumerate(spoken.expression)})
        return tmp_path / name

    def draw(model: object, character: str, folder: Path) -> Pencil:
        pencil = Pencil(model, character, folder)
        who[f"drawn {len(who)}"] = pencil.name
        return pencil

    def stage(name: str, title: str, settings: dict, outputs: list[str], action: Any) -> None:
        assert outputs == [name] and len(settings["rows"]) == (16 if name == "fit_rgba" else 4)
        action(lambda done, total: None)
        said.update({path: float(read_png(path)[0, 0, 0]) for path in (tmp_path / name).glob("*.png")})

    away: list[int] = []
    monkeypatch.setattr(refining, "render", render)
    monkeypatch.setattr(refining, "FaceDrawing", draw)
    monkeypatch.setattr(refining.character_file, "load", lambda path: path.name)
    monkeypatch.setattr(refining, "crop_size", lambda *_: 64)
    monkeypatch.setattr(refining, "_unseen", lambda session, target, rows: away.extend(rows))
    take = SimpleNamespace(path=lambda name: tmp_path / name, key=lambda stage: f"key of {stage}")
    target: Any = SimpleNamespace(track=track(20), character=SimpleNamespace(lives=lives))
    session: Any = SimpleNamespace(take=take, model=None, stage=stage, options=SimpleNamespace(engine=engine),
                                   close=lambda: None)
    place, keys = refining.render_fit(session, target)
    assert away == ([16, 17, 18, 19] if lives else []) and len(keys) == 1 + lives
    names = [tmp_path.name, "unseen_character"] if lives else [tmp_path.name]
    drawn = lives and engine == "eevee"
    assert who == dict(zip(["drawn 0", "drawn 1"] if drawn else ["fit_rgba", "fit_rgba_end"], names, strict=False))
    assert [said[place(number)] for number in range(20)] == pytest.approx(range(20), abs=1e-3) and len(said) == 20
