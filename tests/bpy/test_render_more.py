"""Shares of a run, motion blur, blank pictures, the backdrop apart, and one process for job after job."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from addon.bl import camera, keyframes, render, scene, workbench  # noqa: E402
from addon.core import job as jobs  # noqa: E402
from addon.core import protocol  # noqa: E402
from addon.core.errors import RenderError, UserInputError  # noqa: E402
from tests import fixtures  # noqa: E402
from tests.bpy.conftest import Stage  # noqa: E402

CHILD = Path(__file__).parents[2] / "addon" / "bl" / "child.py"


def quiet(*_: object) -> None:
    """Progress to nobody."""


def job_file(folder: Path, **settings: object) -> Path:
    """A job over the small fixtures, in a file."""
    files = fixtures.write(folder)
    job = {"schema": "parley.job", "version": 1, "face_model": str(files.face_model), "samples": 1, "size": 64,
           "character": str(files.character), "performance": str(files.performance), **settings}
    path = folder / f"job{len(list(folder.glob('job*')))}.json"
    path.write_text(json.dumps(job))
    return path


def test_shares_cover_every_frame_once() -> None:
    def share(part: int, parts: int) -> list[int]:
        return scene._indices(jobs.RenderJob(Path(), Path(), Path(), share=(part, parts)), 47)

    found = [share(part, 3) for part in range(3)]
    assert sorted(index for part in found for index in part) == list(range(47)) and all(found)
    assert share(0, 1) == list(range(47)) and share(9, 10) == []


def drawn(stage: Stage, folder: Path, blur: float) -> np.ndarray:
    """Frame 2 of the stage's performance with the shutter open for `blur`."""
    stage.act.pose[:, 3] = np.linspace(-0.1, 0.1, len(stage.act))
    bpy.context.scene.camera = camera.add("View", float(stage.person.focal), stage.person.size, stage.head.origin)
    render.configure(bpy.context.scene, "eevee", (80, 60), 4, blur)
    keyframes.write_samples(stage.head, stage.act, np.arange(len(stage.act)) + 1)
    render.frames(bpy.context.scene, [2], folder, quiet)
    return render.read(folder / "000002.png")


def test_an_open_shutter_blurs_what_moves(stage: Stage, tmp_path: Path) -> None:
    sharp, soft = drawn(stage, tmp_path / "sharp", 0.0), drawn(stage, tmp_path / "soft", 1.0)
    partial = [((image[..., 3] > 0.05) & (image[..., 3] < 0.95)).mean() for image in (sharp, soft)]
    assert partial[1] > 1.5 * partial[0]
    assert soft[..., 3].sum() == pytest.approx(sharp[..., 3].sum(), rel=0.1)


def test_a_blank_first_frame_is_no_film(stage: Stage, tmp_path: Path) -> None:
    stage.head.mesh.hide_render = True
    bpy.context.scene.camera = camera.add("View", 500.0, np.array([320, 240]), stage.head.origin)
    render.configure(bpy.context.scene, "eevee", (16, 16), 1)
    with pytest.raises(RenderError, match="empty"):
        render.frames(bpy.context.scene, [0, 1], tmp_path, quiet)
    assert not list(tmp_path.iterdir())


def test_one_process_does_job_after_job(tmp_path: Path) -> None:
    asked = {"view": "portrait", "frames": [0, 3], "engine": "eevee"}
    paths = [job_file(tmp_path, output=str(tmp_path / "with"), **asked),
             job_file(tmp_path, output=str(tmp_path / "x"), frames=[99]),
             job_file(tmp_path, output=str(tmp_path / "without"), backdrop_to=str(tmp_path / "back.png"), **asked)]
    done = subprocess.run([sys.executable, str(CHILD), "--serve", str(tmp_path)], text=True, capture_output=True,
                          input="".join(f"{path}\n" for path in paths), check=False)
    found = [message for line in done.stdout.splitlines() if (message := protocol.decode(line))]
    ends = [message["type"] for message in found if message["type"] in ("result", "error")]
    assert done.returncode == 0 and ends == ["result", "error", "result"], done.stderr
    whole, head, back = (render.read(tmp_path / name) for name in
                         ("with/000003.png", "without/000003.png", "back.png"))
    assert (whole[..., 3] == 1).all() and 0.1 < (head[..., 3] == 0).mean() < 0.9
    over = head[..., :3] * head[..., 3:] + back[..., :3] * (1 - head[..., 3:])
    assert np.abs(over - whole[..., :3]).max() * 255 < 4, "apart and put together again it is the same picture"


@pytest.mark.parametrize(("settings", "text"), [({"share": [2, 2]}, "share"), ({"motion_blur": 5}, "shutter")])
def test_settings_that_no_job_has(tmp_path: Path, settings: dict, text: str) -> None:
    with pytest.raises(UserInputError, match=text):
        jobs.load(job_file(tmp_path, output=str(tmp_path / "out"), **settings))


def test_a_cut_off_image_is_not_taken(tmp_path: Path) -> None:
    workbench.write(np.full((8, 8, 4), 0.5, np.float32), tmp_path / "a.png")
    render.check_whole(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:-5])
    with pytest.raises(RenderError, match="disk is full"):
        render.check_whole(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(RenderError, match="disk is full"):
        render.check_whole(tmp_path / "a.png")
