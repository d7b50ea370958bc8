"""``python -m blender_assets.emotions``: what emotions look like, learned from labelled clips.

A teacher that reads ARKit's weights off single pictures (MediaPipe's face landmarker, a file of the user's own) looks
at clips of people who act an emotion and at clips of people who just talk; the difference of the means is the emotion's
offset. Our own tracker can't serve here: it takes a smile that lasts for the shape of the person's face.

What is measured is drawn towards the action units of EMFACS (Friesen & Ekman 1983) by two people's worth, and what the
teacher can't read (cheeks, nose, dimples) or what may as well be the words spoken (the mouth, where no action unit of
the emotion moves it) is EMFACS's alone: happiness 6 + 12, sadness 1 + 4 + 15, surprise 1 + 2 + 5 + 26, fear 1 + 2 + 4 +
5 + 20, anger 4 + 5 + 7 + 23, disgust 9 + 15 + 16, contempt one-sided 12 + 14.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

TARGET = Path(__file__).parent / "models" / "emotions.json"
EVERY = 6
"""One frame in so many is looked at, at most `MOST` of a clip."""
MOST = 66
LEAST = 0.06
"""Smaller offsets are the teacher's noise, not the emotion's."""
PRIOR_PEOPLE = 2
"""How many people's worth `EMFACS` counts for."""
STRENGTH = 1.6
"""Chosen by eye on the built-in head: strength 1 is to be plain to see. The teacher's means say a little less (its 90th
percentiles lie at 1.2 times its means)."""
BLIND = ("cheekSquint", "noseSneer", "mouthDimple", "cheekPuff", "tongueOut", "jawLeft", "jawRight", "jawForward",
         "eyeWide")
"""Weights that the teacher leaves near nought, whatever the face does."""
PASSING = ("eyeLook", "eyeBlink", "mouthLeft", "mouthRight", "mouthClose", *BLIND)
"""Weights that belong to glances, blinks and speech, not to an emotion, or that the teacher can't read."""
PARTING = ("jawOpen", "mouthUpperUp", "mouthLowerDown", "mouthFunnel")
"""Weights that open the lips, as speech does too."""


def _both(**weights: float) -> dict[str, float]:
    return {f"{name}{side}": value for name, value in weights.items() for side in ("Left", "Right")}


EMFACS: dict[str, dict[str, float]] = {
    "happy": _both(mouthSmile=0.5, cheekSquint=0.45, eyeSquint=0.25, mouthDimple=0.1),
    "sad": {"browInnerUp": 0.55, "mouthShrugLower": 0.15, **_both(browDown=0.12, mouthFrown=0.4, eyeLookDown=0.1)},
    "angry": {"mouthRollLower": 0.1, **_both(browDown=0.7, eyeWide=0.2, eyeSquint=0.35, mouthPress=0.3, noseSneer=0.2)},
    "surprised": {"browInnerUp": 0.6, "jawOpen": 0.12, **_both(browOuterUp=0.65, eyeWide=0.55)},
    "afraid": {"browInnerUp": 0.7, **_both(browOuterUp=0.3, browDown=0.25, eyeWide=0.5, mouthStretch=0.35)},
    "disgusted": {"mouthShrugUpper": 0.15, **_both(noseSneer=0.6, browDown=0.3, mouthUpperUp=0.2, mouthFrown=0.25,
                                                   cheekSquint=0.3)},
    "contempt": {"mouthSmileRight": 0.3, "mouthDimpleRight": 0.4, "mouthPressRight": 0.2, "eyeSquintRight": 0.15},
}
"""Weights of each emotion's action units in ARKit's terms."""
ONE_SIDED = ("contempt",)


def read_clip(path: Path, teacher: object, picture: object) -> dict[str, float] | None:
    """Mean weight of each expression in the clip at `path`; None where hardly a face was found."""
    found = []
    for frame in _frames(path):
        faces = teacher.detect(picture(frame)).face_blendshapes  # type: ignore[attr-defined,operator]
        if faces:
            found.append({item.category_name: item.score for item in faces[0]})
    if len(found) < 4:
        return None
    return {name: float(np.mean([row[name] for row in found])) for name in found[0]}


def offsets(emotion: str, people: list[dict[str, float]], calm: dict[str, float]) -> dict[str, float]:
    """Weights of `emotion` from each person's means and the `calm` means, drawn towards `EMFACS`.

    Parameters
    ----------
    emotion : name in `EMFACS`
    people : one mapping of expression to mean weight per person
    calm : the same of people who just talk
    """
    prior, trust = EMFACS[emotion], len(people) / (len(people) + PRIOR_PEOPLE)
    result = {}
    for name in sorted(set(calm) | set(prior)):
        spoken = name.startswith(("mouth", "jaw")) and (name not in prior or name.startswith(PARTING))
        if spoken or name.startswith(PASSING) or name not in calm:
            value = prior.get(name, 0.0)
        else:
            other = name if emotion in ONE_SIDED else _mirrored(name)
            seen = np.mean([person[side] - calm[side] for person in people for side in (name, other)]) if people else 0
            value = trust * STRENGTH * float(seen) + (1 - trust) * prior.get(name, 0.0)
        if abs(value) >= LEAST:
            result[name] = round(value, 2)
    return result


def _mirrored(name: str) -> str:
    if name.endswith("Left"):
        return name[:-4] + "Right"
    return name[:-5] + "Left" if name.endswith("Right") else name


def _frames(path: Path) -> Iterator[np.ndarray]:
    import cv2

    clip = cv2.VideoCapture(str(path))
    for index in range(EVERY * MOST):
        seen, frame = clip.read()
        if not seen:
            return
        if index % EVERY == 0:
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


def _teacher(file: Path) -> tuple[object, object]:
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceLandmarkerOptions(base_options=BaseOptions(model_asset_path=str(file)), num_faces=1,
                                           output_face_blendshapes=True)

    def picture(frame: np.ndarray) -> object:
        return mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(frame))

    return vision.FaceLandmarker.create_from_options(options), picture


def main() -> None:
    """Read the clips and write `TARGET`."""
    parser = argparse.ArgumentParser(description="Learn what emotions look like from labelled clips.")
    parser.add_argument("--teacher", type=Path, required=True, help="MediaPipe's face_landmarker.task")
    parser.add_argument("--calm", type=Path, nargs="+", required=True, help="clips of people who just talk")
    parser.add_argument("--acted", nargs="+", required=True, metavar="EMOTION=CLIP[,CLIP]",
                        help="clips of one person who acts the emotion; name an emotion again for another person")
    options = parser.parse_args()
    teacher, picture = _teacher(options.teacher)
    calm = [means for path in options.calm if (means := read_clip(path, teacher, picture))]
    mean = {name: float(np.mean([row[name] for row in calm])) for name in calm[0]}
    people: dict[str, list[dict[str, float]]] = {name: [] for name in EMFACS}
    for text in options.acted:
        emotion, clips = re.fullmatch(r"(\w+)=(.+)", text).groups()  # type: ignore[union-attr]
        seen = [means for path in clips.split(",") if (means := read_clip(Path(path), teacher, picture))]
        people[emotion].append({name: float(np.mean([row[name] for row in seen])) for name in mean})
    learned = {"neutral": {}, **{emotion: offsets(emotion, rows, mean) for emotion, rows in people.items()}}
    facts = {"schema": "parley.emotions", "version": 1, "calm_clips": len(calm),
             "people": {emotion: len(rows) for emotion, rows in people.items()}}
    TARGET.write_text(json.dumps({**facts, "weights": learned}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
