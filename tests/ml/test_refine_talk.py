"""What a film does where there is nothing to fit the refiner to: it says so and uses the rendering."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from ml_backend.talk import refining

OTHER: Any = None


def session(refine: bool) -> tuple[Any, list[str]]:
    said: list[str] = []
    terminal = SimpleNamespace(say=said.append, warn=said.append)
    return SimpleNamespace(options=SimpleNamespace(refine=refine), take=None, terminal=terminal), said


@pytest.mark.parametrize(("frames", "sentence"), [(1, "A photo, one frame, is too little"),
                                                  (7, "A clip of 7 frames is too little")])
def test_too_little_is_said(frames: int, sentence: str) -> None:
    asked, said = session(True)
    refining.say_unrefined(asked, frames)
    assert len(said) == 1 and sentence in said[0] and "the rendering is used as it is" in said[0]


def test_a_short_clip_keeps_its_rendering() -> None:
    drawn = cast(Any, ["frames"])
    for refine, count in ((True, 1), (False, 0)):
        asked, said = session(refine)
        target = cast(Any, SimpleNamespace(track=[None] * 7))
        assert refining.refine(asked, target, OTHER, drawn) == (drawn, False)
        assert len(said) == count


def test_nothing_is_said_where_it_was_switched_off() -> None:
    asked, said = session(False)
    refining.say_unrefined(asked, 1)
    assert said == []
