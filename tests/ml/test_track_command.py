"""`parley track`: track, contact sheet and film of the fitted mesh, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from ml_backend.artefacts import face_track
from ml_backend.cli import main
from ml_backend.reconstruct.overlay import Overlay, face_edges
from ml_backend.reconstruct.person import inner, person_mask
from ml_backend.track_command import made_here
from tests.ml.reconstruct_toys import SIZE, head, picture, weights

pytest.importorskip("mediapipe")
POSE = np.array([0, 0.05, 0, 0, 0.01, 0.5])


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames of the built-in head at 25 fps with a second of sound: more than its picture lasts."""
    path = tmp_path_factory.mktemp("clip") / "who.mp4"
    width, height = (int(side) // 2 * 2 for side in SIZE)
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio = out.add_stream("aac", rate=16000, layout="mono")
        for t in range(6):
            shown = picture(weights(1, jawOpen=0.1 * t)[0], POSE)[:height, :width]
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(shown), format="rgb24")))
        out.mux(video.encode(None))
        tone = (0.2 * np.sin(np.arange(16000) / 8)).astype(np.float32)[None]
        sound = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        sound.sample_rate = 16000
        out.mux(audio.encode(sound))
        out.mux(audio.encode(None))
    return path


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main(["track", *map(str, words)]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("parley: ")]
    assert len(lines) == 1
    return lines[0]


def test_track_with_a_sheet_then_with_a_film(clip: Path, tmp_path: Path, capsys) -> None:
    out, sheet, film = tmp_path / "new" / "track.npz", tmp_path / "sheet.png", tmp_path / "overlay.mp4"
    assert main(["track", str(clip), "--out", str(out), "--preview", str(sheet)]) == 0
    assert len(face_track.load(out)) == 6
    drawn = cv2.imread(str(sheet))
    assert drawn is not None and drawn.shape[0] == 2 * 404 + 4 and made_here(sheet)
    assert "exists; choose another name or add --overwrite" in refused(capsys, clip, "--out", out)
    words = ["track", str(clip), "--out", str(out), "--preview", str(film), "--overwrite", "--target-seconds", "0.16"]
    assert main(words) == 0
    assert len(face_track.load(out)) == 4 and made_here(film)
    with av.open(str(film)) as made:
        assert made.streams.video[0].frames == 4
        sound = sum(frame.samples for frame in made.decode(audio=0)) / made.streams.audio[0].rate
    assert 0.14 < sound < 0.24


def test_what_it_refuses(clip: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "track.npz"
    foreign = tmp_path / "holiday.png"
    cv2.imwrite(str(foreign), np.zeros((4, 4, 3), np.uint8))
    words = (clip, "--out", out)
    assert "not made by parley track" in refused(capsys, *words, "--preview", foreign, "--overwrite")
    assert "must end in .png or .mp4" in refused(capsys, *words, "--preview", tmp_path / "a.gif")
    assert "must end in .npz" in refused(capsys, clip, "--out", tmp_path / "a.txt")
    assert "is the clip itself" in refused(capsys, *words, "--preview", clip, "--overwrite")
    assert "--face" in refused(capsys, *words, "--face", "middle")
    assert "--target-seconds" in refused(capsys, *words, "--target-seconds", "0")
    assert "who.npz" in refused(capsys, tmp_path / "who.npz", "--out", out)
    assert "no face 2 in" in refused(capsys, *words, "--face", "2")
    np.savez(out, a=np.zeros(2))
    assert "not made by parley track" in refused(capsys, *words, "--overwrite")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["holiday.png", "track.npz"]


def test_overlay_draws_on_the_face_and_nowhere_else(clip: Path, tmp_path: Path) -> None:
    assert main(["--quiet", "track", str(clip), "--out", str(tmp_path / "t.npz"), "--target-seconds", "0.08"]) == 0
    track = face_track.load(tmp_path / "t.npz")
    frame = picture(weights(1)[0], POSE)[: int(track.size[1]), : int(track.size[0])]
    drawn = Overlay.of(track, head()).draw(0, frame)
    changed = (drawn != frame).any(-1)
    low, high = track.landmarks[0, :, :2].min(0), track.landmarks[0, :, :2].max(0)
    rows, columns = np.nonzero(changed)
    inside = (columns > low[0] - 25) & (columns < high[0] + 25) & (rows > low[1] - 25) & (rows < high[1] + 25)
    assert changed.sum() > 500 and inside.all()
    lost = face_track.FaceTrack(**{**vars(track), "confidence": np.zeros(len(track), np.float32)})
    marked = (Overlay.of(lost, head()).draw(0, frame) != frame).any(-1)
    assert marked[:50].any() and not marked[60:].any()


def test_edges_are_each_drawn_once() -> None:
    edges = face_edges(head())
    assert len(np.unique(edges, axis=0)) == len(edges) > 1000 and (edges[:, 0] < edges[:, 1]).all()


def test_person_mask_tells_the_head_from_the_wall() -> None:
    frame = picture(weights(1)[0], POSE)
    mask = person_mask(frame)
    assert mask.shape == frame.shape[:2] and mask.dtype == np.float32 and 0 <= mask.min() <= mask.max() <= 1
    height, width = mask.shape
    assert mask[height // 2, width // 2] > 0.8 and mask[:10, :10].max() < 0.3
    part = person_mask(frame, np.array([width / 4, height / 4, width / 2]))
    assert (part[: height // 4 - 1] == 0).all() and part[height // 2, width // 2] > 0.5
    square = np.zeros((40, 40), np.float32)
    square[10:] = 1
    drawn_in = inner(square, 3)
    assert drawn_in[12].max() < 0.5 and drawn_in[20:].min() > 0.99
