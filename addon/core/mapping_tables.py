"""Other rigs' names for what ARKit's shapes do: one name, and the weights of the ARKit shapes that drive it.

Only names that `mapping_names.exact` can't read are listed. "{s}" stands for a side: `L`/`R` in `NAME`, `Left`/`Right`
in ARKit's names. Names are compared as `mapping_names.parse` takes them apart, so spelling does not matter.

Sources of the names (the weights are ours): VRM 0.x and 1.0 expression presets, vrm-consortium/vrm-specification,
and VRoid Studio's exported keys; Reallusion, Character Creator 4 "Extended" facial profile; Daz Genesis 8.1 and 9 FACS
properties (`facs_bs_…`), DazToBlender's lists; Epic, MetaHuman raw controls `CTRL_expressions_…`, as in the engine's
MetaHumanRealtimeCalibration; Ready Player Me, "Apple ARKit" and additional morph targets.
"""

from __future__ import annotations

from .mapping_names import parse, tails

Weights = dict[str, float]
_SIDES = (("L", "Left", "Right"), ("R", "Right", "Left"))


def both(shape: str) -> Weights:
    """Half of each side: a key without sides follows the mean of the two."""
    return {f"{shape}Left": 0.5, f"{shape}Right": 0.5}


_VRM: dict[str, Weights] = {
    "blink": both("eyeBlink"), "Blink_{s}": {"eyeBlink{s}": 1.0},
    "lookUp": both("eyeLookUp"), "lookDown": both("eyeLookDown"),
    "lookLeft": {"eyeLookOutLeft": 0.5, "eyeLookInRight": 0.5},
    "lookRight": {"eyeLookInLeft": 0.5, "eyeLookOutRight": 0.5},
    "Fcl_EYE_Close": both("eyeBlink"), "Fcl_EYE_Close_{s}": {"eyeBlink{s}": 1.0},
    "Fcl_EYE_Spread": both("eyeWide"), "Fcl_MTH_Up": {"mouthShrugLower": 1.0},
}
_EMOTIONS: dict[str, Weights] = {
    "happy": both("mouthSmile"), "joy": both("mouthSmile"), "Fcl_ALL_Joy": both("mouthSmile"),
    "Fcl_ALL_Fun": both("mouthSmile"), "fun": both("mouthSmile"), "relaxed": both("mouthSmile"),
    "angry": both("browDown"), "Fcl_ALL_Angry": both("browDown"), "Fcl_BRW_Angry": both("browDown"),
    "sad": both("mouthFrown"), "sorrow": both("mouthFrown"), "Fcl_ALL_Sorrow": both("mouthFrown"),
    "surprised": {"browInnerUp": 0.5, **{name: 0.25 for name in both("browOuterUp")}},
    "Fcl_ALL_Surprised": {"browInnerUp": 0.5, **{name: 0.25 for name in both("browOuterUp")}},
}
"""Whole-face expressions: offered in the review list, off until the user wants them."""

_CC4: dict[str, Weights] = {
    "Brow_Raise_Inner_{s}": {"browInnerUp": 1.0}, "Brow_Raise_Outer_{s}": {"browOuterUp{s}": 1.0},
    "Brow_Drop_{s}": {"browDown{s}": 1.0}, "Cheek_Raise_{s}": {"cheekSquint{s}": 1.0},
    "Eye_L_Look_L": {"eyeLookOutLeft": 1.0}, "Eye_L_Look_R": {"eyeLookInLeft": 1.0},
    "Eye_R_Look_L": {"eyeLookInRight": 1.0}, "Eye_R_Look_R": {"eyeLookOutRight": 1.0},
    "Eye_L_Look_Up": {"eyeLookUpLeft": 1.0}, "Eye_R_Look_Up": {"eyeLookUpRight": 1.0},
    "Eye_L_Look_Down": {"eyeLookDownLeft": 1.0}, "Eye_R_Look_Down": {"eyeLookDownRight": 1.0},
    "Mouth_Pucker_Up_{s}": {"mouthPucker": 1.0}, "Mouth_Pucker_Down_{s}": {"mouthPucker": 1.0},
    "Mouth_Funnel_Up_{s}": {"mouthFunnel": 1.0}, "Mouth_Funnel_Down_{s}": {"mouthFunnel": 1.0},
    "Mouth_Roll_In_Upper_{s}": {"mouthRollUpper": 1.0}, "Mouth_Roll_In_Lower_{s}": {"mouthRollLower": 1.0},
    "Mouth_Up_Upper_{s}": {"mouthUpperUp{s}": 1.0}, "Mouth_Down_Lower_{s}": {"mouthLowerDown{s}": 1.0},
    "Mouth_Chin_Up": {"mouthShrugLower": 1.0}, "Eyes_Blink": both("eyeBlink"),
}
_DAZ: dict[str, Weights] = {
    **{f"Mouth{name}{part}{{s}}": {shape: 1.0} for part in ("Upper", "Lower")
       for name, shape in (("Funnel", "mouthFunnel"), ("Purse", "mouthPucker"), ("Close", "mouthClose"),
                           ("Press", "mouthPress{s}"))},
    "eCTRLEyesClosed{s}": {"eyeBlink{s}": 1.0}, "EyesClosed": both("eyeBlink"), "EyelidWide{s}": {"eyeWide{s}": 1.0},
}
_METAHUMAN: dict[str, Weights] = {
    "browRaiseIn{s}": {"browInnerUp": 1.0}, "browRaiseOuter{s}": {"browOuterUp{s}": 1.0},
    "browLateral{s}": {"browDown{s}": 1.0}, "eyeWiden{s}": {"eyeWide{s}": 1.0},
    "eyeSquintInner{s}": {"eyeSquint{s}": 1.0}, "eyeCheekRaise{s}": {"cheekSquint{s}": 1.0},
    "eyeLookLeftL": {"eyeLookOutLeft": 1.0}, "eyeLookRightL": {"eyeLookInLeft": 1.0},
    "eyeLookLeftR": {"eyeLookInRight": 1.0}, "eyeLookRightR": {"eyeLookOutRight": 1.0},
    "noseWrinkle{s}": {"noseSneer{s}": 1.0}, "mouthCheekBlow{s}": {"cheekPuff": 1.0},
    "mouthUpperLipRaise{s}": {"mouthUpperUp{s}": 1.0}, "mouthLowerLipDepress{s}": {"mouthLowerDown{s}": 1.0},
    "mouthCornerPull{s}": {"mouthSmile{s}": 1.0}, "mouthCornerDepress{s}": {"mouthFrown{s}": 1.0},
    "mouthLipsPress{s}": {"mouthPress{s}": 1.0}, "mouthUpperLipRollIn{s}": {"mouthRollUpper": 1.0},
    "mouthLowerLipRollIn{s}": {"mouthRollLower": 1.0}, "jawFwd": {"jawForward": 1.0},
    **{f"{name}{row}{{s}}": {shape: 1.0} for row in "UD"
       for name, shape in (("mouthLipsPurse", "mouthPucker"), ("mouthFunnel", "mouthFunnel"),
                           ("mouthLipsTogether", "mouthClose"), ("mouthPress", "mouthPress{s}"))},
    "jawChinRaiseD{s}": {"mouthShrugLower": 1.0}, "jawChinRaiseU{s}": {"mouthShrugUpper": 1.0},
}
_READY_PLAYER_ME: dict[str, Weights] = {
    "mouthOpen": {"jawOpen": 1.0}, "eyesClosed": both("eyeBlink"), "eyesLookUp": both("eyeLookUp"),
    "eyesLookDown": both("eyeLookDown"),
}

CONVENTIONS: dict[str, dict[str, Weights]] = {
    "VRM": _VRM, "VRM emotion": _EMOTIONS, "Character Creator": _CC4, "Daz": _DAZ, "MetaHuman": _METAHUMAN,
    "Ready Player Me": _READY_PLAYER_ME,
}
OFF = frozenset({"VRM emotion"})
"""Conventions whose pairs are only suggested."""


def _expanded() -> dict[tuple[str, str], tuple[str, Weights]]:
    """Every name of every convention, sides filled in: (stem, side) → convention and weights; the first one wins."""
    found: dict[tuple[str, str], tuple[str, Weights]] = {}
    for convention, table in CONVENTIONS.items():
        for pattern, weights in table.items():
            for short, long, _ in _SIDES if "{s}" in pattern else _SIDES[:1]:
                name = parse(pattern.replace("{s}", short))
                filled = {shape.replace("{s}", long): weight for shape, weight in weights.items()}
                found.setdefault((name.stem, name.side), (convention, filled))
    return found


_TABLE = _expanded()


def known(name: str) -> tuple[str, Weights] | None:
    """The convention that has a key called `name`, and the ARKit weights that drive it; None if none has."""
    return next((_TABLE[tail.stem, tail.side] for tail in tails(name) if (tail.stem, tail.side) in _TABLE), None)
