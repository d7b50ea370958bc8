"""Every panel in every state, drawn on a spy: what it names exists, what is greyed says why."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

bpy = pytest.importorskip("bpy")

import addon  # noqa: E402
from addon import registration  # noqa: E402
from addon.bl import scene, worker  # noqa: E402
from addon.core.jobs import Job, State  # noqa: E402
from addon.features.setup import operators as setup  # noqa: E402

DRAWN = [item for item in registration.CLASSES if issubclass(item, bpy.types.Panel)]
PREFERENCES = next(item for item in registration.CLASSES if issubclass(item, bpy.types.AddonPreferences))


class Spy:
    """A layout that checks what it is told to draw and remembers its words."""

    def __init__(self, kept: list[str] | None = None) -> None:
        self.__dict__["words"] = [] if kept is None else kept

    def __setattr__(self, name: str, value: object) -> None:
        assert name in bpy.types.UILayout.bl_rna.properties, f"a layout has no {name}"

    def _part(self, **settings: object) -> Spy:
        return Spy(self.words)

    row = column = box = split = _part

    def label(self, text: str = "", icon: str = "NONE") -> None:
        _check_icon(icon)
        self.words.append(text)

    def separator(self, **settings: object) -> None:
        pass

    def progress(self, factor: float = 0.0, type: str = "BAR", text: str = "") -> None:
        assert 0 <= factor <= 1 and "progress" in bpy.types.UILayout.bl_rna.functions
        self.words.append(f"[{factor:.2f} {text}]")

    def prop(self, owner: Any, name: str, icon: str = "NONE", **settings: object) -> None:
        _check_icon(icon)
        kinds = owner.bl_rna.properties if hasattr(owner, "bl_rna") else vars(owner)
        known = name in kinds if not name.startswith("[") else name[2:-2] in owner
        assert known, f"{owner} has no {name}"
        self.words.append(name)

    def operator(self, name: str, icon: str = "NONE", **settings: object) -> Any:
        _check_icon(icon)
        group, _, operator = name.partition(".")
        assert operator in dir(getattr(bpy.ops, group)), f"there is no operator {name}"
        self.words.append(name)
        return SimpleNamespace()

    def operator_menu_enum(self, name: str, *words: object, **settings: object) -> None:
        self.words.append(name)

    def template_list(self, *words: object, **settings: object) -> None:
        self.words.append(str(words[0]))

    def prop_search(self, owner: Any, name: str, *words: object, **settings: object) -> None:
        self.prop(owner, name)


def _check_icon(icon: str) -> None:
    assert icon in bpy.types.UILayout.bl_rna.functions["label"].parameters["icon"].enum_items, icon


def drawn(item: type) -> str:
    spy = Spy()
    words = SimpleNamespace(layout=spy, bl_idname=item.bl_idname)
    item.draw(words, bpy.context)  # type: ignore[attr-defined]
    return " ".join(spy.words)


def everything() -> str:
    for item in DRAWN:
        poll = getattr(item, "poll", None)
        if poll is not None:
            poll(bpy.context)
    return " ".join(drawn(item) for item in DRAWN)


def preferences() -> str:
    spy = Spy()
    names = ("interpreter", "device", "base_python", "source", "hint")
    held = SimpleNamespace(layout=spy, **dict.fromkeys(names, ""))
    held._draw_setup = lambda box, context: PREFERENCES._draw_setup(held, box, context)  # type: ignore[attr-defined]
    PREFERENCES.draw(held, bpy.context)  # type: ignore[attr-defined]
    return " ".join(spy.words)


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[bpy.types.Scene]:
    monkeypatch.setenv("PARLEY_DATA", str(tmp_path))
    monkeypatch.setenv("PARLEY_PYTHON", sys.executable)
    scene.empty_file()
    addon.register()
    yield bpy.context.scene
    addon.unregister()
    scene.empty_file()


def test_at_rest_every_choice(opened: bpy.types.Scene) -> None:
    assert {item.bl_category for item in DRAWN} == {"Parley"} and len(DRAWN) >= 5
    words = everything()
    assert "no Parley head; add one" in words and "First steps" in words and "parley.open_manual" in words
    assert "Amounts are the character's own" in words.replace("  ", " ") and "parley.export" in words
    bpy.ops.parley.add_head()
    words = everything()
    assert "First steps" not in words and "Speaks: Parley Face" in words and '["parley_mouth"]' in words
    opened.parley_performance.live = False
    assert '["parley_mouth"]' in everything(), "the head has amounts before its first bake"
    opened.parley_performance.live = True
    for owner in (opened.parley_character, opened.parley_speech, opened.parley_performance, opened.parley_film,
                  opened.parley_export):
        for name, kind in owner.bl_rna.properties.items():
            if kind.type == "ENUM":
                for choice in [item.identifier for item in kind.enum_items]:
                    setattr(owner, name, choice)
                    everything()
                owner.property_unset(name)
    opened.parley_film.output = "/tmp/film.mp4"
    opened.parley_film.target, opened.parley_speech.source = "/nowhere/a.mp4", "SAMPLE"
    words = everything()
    assert "refine_minutes" in words and "clip or photo is missing" in words.replace("  ", " ")
    assert "weights_file" not in words and "pose_clip" not in words


def test_without_a_backend_it_says_where_to_get_one(opened: bpy.types.Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PARLEY_PYTHON")
    bpy.ops.parley.add_head()
    opened.parley_speech.source = "SAMPLE"
    opened.parley_performance.engine = "BACKEND"
    assert "press Set Up Backend" in everything() and "parley.animate" in everything()
    words = preferences()
    assert "Animate works without it" in words
    assert "Contacts pypi.org, files.pythonhosted.org, download.pytorch.org when the button is pressed" in words
    assert "parley.set_up_backend" in words and "-m venv --clear" in words and "torch==" in words


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("title", ["Animate", "Render Film", "Check"])
def test_every_state_of_a_job(opened: bpy.types.Scene, state: State, title: str,
                              monkeypatch: pytest.MonkeyPatch) -> None:
    runner = worker.runner()
    bpy.ops.parley.add_head()
    opened.parley_speech.source = "SAMPLE"
    runner.job = Job(title, "Speech to motion", 30, 120, 75.0, ["A note."])
    monkeypatch.setattr(runner, "state", state)
    monkeypatch.setattr(worker._state, "outcome", worker.Outcome(title, "All went well.", "", ["Kept."], "/tmp"))
    words = everything() + preferences()
    if runner.busy:
        assert f"{title}: Speech to motion" in words and "[0.25 30/120, 75 s left]" in words and "A note." in words
        assert "parley.cancel" in words
        said = f"{title} is running; wait for it or cancel it." in words
        assert said, "the other sections' buttons are grey because of it"
    else:
        assert "All went well." in words and "Kept." in words and "parley.open_folder" in words
        assert "parley.cancel " not in words
        monkeypatch.setattr(worker._state, "outcome", worker.Outcome(title, "", "It broke.", [], "/tmp"))
        words = everything() + preferences()
        assert "It broke." in words and "parley.open_folder" not in words
    monkeypatch.undo()


def test_the_setup_runs_its_commands_and_shows_them(opened: bpy.types.Scene, tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    from addon.core import backend_setup

    good = (sys.executable, "-c", "print('Collecting torch')")
    bad = (sys.executable, "-c", "raise SystemExit('ERROR: No matching distribution')")
    for last, ending in ((good, "The backend is set up."), (bad, "Installing failed: ERROR: No matching distribution")):
        run = backend_setup.SetupRun(backend_setup.Plan((("Making", good), ("Installing", last))), tmp_path / "venv")
        monkeypatch.setattr(setup._state, "run", run)
        assert "Making (1/2)" in preferences() and "parley.cancel_setup" in preferences()
        assert setup.PARLEY_OT_set_up_backend.disabled_reason(bpy.context) == "The set-up is running."
        while run.tick():
            pass
        assert ending in preferences().replace("  ", " ") and "Collecting torch" in run.lines
    run = backend_setup.SetupRun(backend_setup.Plan((("Making", (sys.executable, "-c", "import time; time.sleep(60)")),
                                                     )), tmp_path / "venv")
    monkeypatch.setattr(setup._state, "run", run)
    while run._child is None:
        pass
    assert bpy.ops.parley.cancel_setup() == {"FINISHED"}
    while run.tick():
        pass
    assert "Stopped." in preferences()


def test_a_python_that_does_not_fit_is_named(tmp_path: Path) -> None:
    from addon.core import backend_setup
    from addon.core.errors import UserInputError

    assert backend_setup.base_python("") and backend_setup.base_python(sys.executable) == sys.executable
    with pytest.raises(UserInputError, match="no Python that can be started"):
        backend_setup.base_python(str(tmp_path / "none"))
    old = tmp_path / "old"
    old.write_text("#!/bin/sh\necho 3 8\n")
    old.chmod(0o755)
    with pytest.raises(UserInputError, match=r"Python 3\.8; the backend needs Python 3\.11 or 3\.12"):
        backend_setup.base_python(str(old))
