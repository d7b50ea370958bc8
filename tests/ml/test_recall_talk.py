"""The memory in a film: learned from the clip's renders, given to the film's, kept off hands; else the network."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ml_backend.background.composite import composite
from ml_backend.data.frames import encode_png, frame_path, write_index, write_whole
from ml_backend.reconstruct import recall_frames
from ml_backend.reconstruct.recall_frames import face_map
from ml_backend.talk import recalling, refining
from tests.ml.reconstruct_toys import head

SIZE, COUNT = 64, 30
EDGE = 4
PERSON: Any = SimpleNamespace(neutral_shape=head().mean_shape, focal=256.0, size=np.array([128, 128]),
                              crop=np.array([0.0, 0.0, 128.0]), lives=False)


def session(folder: Path) -> Any:
    """A take whose stages simply run."""
    take = SimpleNamespace(folder=folder, path=lambda name: folder / name, key=lambda stage: f"key of {stage}")
    options = SimpleNamespace(refine_strength=1.0, refine=True)
    made = SimpleNamespace(take=take, options=options, model=head(), facts={})
    made.stage = lambda name, title, settings, outputs, action: action(lambda done, total: None)
    return made


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any, Any]:
    """A session, a target whose face reddens as its mouth opens, and the folder of its renders, which don't."""
    monkeypatch.setattr(recall_frames, "SIDES", (160,))
    monkeypatch.setattr(recalling, "crop_size", lambda *_: SIZE)
    monkeypatch.setattr(recalling, "Hidden", lambda seen, crop, source: lambda index, size: hand(index, seen))
    names, time = list(map(str, head().names)), np.arange(COUNT)
    expression, pose = np.zeros((COUNT, len(names)), np.float32), np.tile([0.0, 0, 0, 0, 0, 0.5], (COUNT, 1))
    opening = expression[:, names.index("jawOpen")] = 0.3 + 0.3 * np.sin(time / 3)
    face = face_map(head(), PERSON, SIZE)
    assert face is not None
    rgba = np.random.default_rng(0).integers(90, 160, (SIZE, SIZE, 4), np.uint8)
    rgba[..., 3] = np.pad(np.full((SIZE - 2 * EDGE, SIZE - 2 * EDGE), 255, np.uint8), EDGE)
    tint, frames = np.tile([0.2, -0.1, -0.1], (len(face.texels), 1)), []
    for t in range(COUNT):
        red = 255 * opening[t] * face.paint(tint, expression[t], pose[t])
        frames.append(np.clip(rgba[..., :3] + red, 0, 255).astype(np.uint8).repeat(2, 0).repeat(2, 1))
        for name, picture in (("renders", rgba), ("composites", composite(rgba, frames[-1][::2, ::2], colour=0))):
            (tmp_path / name).mkdir(exist_ok=True)
            write_whole(frame_path(tmp_path / name, t), encode_png(picture))
    write_index(tmp_path / "composites", complete=True, count=COUNT, fps=25, notes=[])
    track = SimpleNamespace(expression_names=names, expression=expression, pose=lambda: pose, crop=PERSON.crop,
                            landmarks=np.full((COUNT, 478, 3), np.nan), confidence=np.ones(COUNT))
    return session(tmp_path), SimpleNamespace(track=track, frames=frames, character=PERSON), tmp_path / "renders"


def hand(index: int, covered: set[int]) -> np.ndarray | None:
    return np.ones((SIZE, SIZE), np.float32) if index in covered else None


def test_films_are_given_what_the_clip_lacked(clip: tuple[Any, Any, Path], tmp_path: Path) -> None:
    asked, target, renders = clip
    fit = recalling.FrameFolder.open(tmp_path / "composites")
    seen: Any = {3}
    facts = recalling.remember_clip(asked, target, seen, fit, lambda index: frame_path(renders, index),
                                    np.arange(26, COUNT), None)
    assert facts["used"] and facts["after"]["psnr"] > facts["before"]["psnr"] and (tmp_path / "recall").is_dir()
    renders.rename(tmp_path / "frames_rgba")
    performance: Any = SimpleNamespace(names=target.track.expression_names, expression=target.track.expression)
    plates: Any = SimpleNamespace(pose=target.track.pose(), source=np.arange(COUNT))
    out = recalling.recollect(asked, target, seen, fit, recalling.Film(performance, plates), "refined", "before.png")
    assert len(out) == COUNT and (tmp_path / "before.png").is_file()
    real = [frame[::2, ::2].astype(float) for frame in target.frames]
    for t in (12, 16):
        assert np.abs(out[t] - real[t]).mean() < 0.8 * np.abs(fit[t] - real[t]).mean()
    np.testing.assert_array_equal(out[3], fit[3])


def test_the_network_is_fitted_only_where_a_memory_is_no_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked, film = session(tmp_path), SimpleNamespace()
    target: Any = SimpleNamespace(track=[None] * 60, character=PERSON)
    drawn: Any = ["drawn"]
    useful = [True]
    monkeypatch.setattr(refining, "render_fit", lambda *_: (lambda index: tmp_path, {}))
    monkeypatch.setattr(refining, "_own_frames", lambda *_: [None] * 60)
    monkeypatch.setattr(refining, "remember_clip", lambda *given: {"used": useful[0], "ends": given[5].tolist()})
    monkeypatch.setattr(refining, "recollect", lambda *_: ["recalled"])
    monkeypatch.setattr(refining, "_fit", lambda *_, short: {"pass_through": False})
    monkeypatch.setattr(refining, "_apply", lambda *_: ["refined"])
    other: Any = None
    assert refining.refine(asked, target, other, drawn, film) == (["recalled"], True)  # type: ignore[arg-type]
    assert asked.facts["refiner"]["ends"] == list(range(48, 60)) and not asked.facts["refiner"]["pass_through"]
    useful[0] = False
    assert refining.refine(asked, target, other, drawn, film) == (["refined"], True)  # type: ignore[arg-type]
