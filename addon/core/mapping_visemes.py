"""Viseme sets of other rigs: what their keys are called, and each viseme as a pose of ARKit's 52.

A viseme key stands for a whole mouth, so its weight can't be read off one ARKit weight: `mapping_reduce` finds the
weights whose poses together come closest. The poses are ours, made from what each set's makers say of it:
Meta, "Viseme Reference" of Oculus LipSync (15); Microsoft, "Map phonemes to visemes" of the speech service (0-21), and
MPFB's `visemes01` names for the same; VRM 0.x A/I/U/E/O and 1.0 aa/ih/ou/ee/oh presets, VRoid's `Fcl_MTH_…`;
Rhubarb Lip Sync's README, mouth shapes A-H and X; Reallusion, Character Creator's viseme blend shapes `V_…`; Daz
Genesis 8 visemes `eCTRLv…`.
"""

from __future__ import annotations

from dataclasses import dataclass

from .channels import ARKIT
from .mapping_names import words

Pose = dict[str, float]
_PREFIXES = frozenset({"viseme", "visemes", "vis", "v", "vrc", "mth", "fcl", "mouth", "phoneme", "lipsync", "rhubarb",
                       "shape", "shapes", "pose", "ms", "microsoft", "oculus", "ovr", "meta", "blend", "id", "head",
                       "face", "ctrl", "bs", "body", "key", "lip", "sync", "e", "ctr", "lv", "vrm", "teeth"})
"""Words before a viseme's own name; "e", "ctr", "lv" are what is left of Daz's `eCTRLv`."""


def _pose(**weights: float) -> Pose:
    """Weights by ARKit name; a name that exists only with sides is meant for both."""
    return {name: weight for stem, weight in weights.items()
            for name in ((stem,) if stem in ARKIT else (f"{stem}Left", f"{stem}Right"))}


@dataclass(frozen=True)
class VisemeSet:
    """One convention.

    Attributes
    ----------
    title : its name for people
    poses : viseme → pose; an empty one is the rest, whose weight is what the others leave of 1
    aliases : viseme → names of its key in lower case without prefix, as `alias_of` makes them
    """

    title: str
    poses: dict[str, Pose]
    aliases: dict[str, tuple[str, ...]]

    def viseme(self, name: str) -> str | None:
        """The viseme whose key `name` is."""
        found = alias_of(name)
        return next((viseme for viseme, names in self.aliases.items() if found & set(names)), None)


def alias_of(name: str) -> set[str]:
    """What `name` may be called among aliases: joined words in lower case, with and without its prefixes."""
    parts = [str(int(word)) if word.isdigit() else word for word in words(name)]
    found = {"".join(parts)}
    while len(parts) > 1 and parts[0] in _PREFIXES:
        parts = parts[1:]
        found.add("".join(parts))
    return found


_REST = _pose()
_CLOSED = _pose(mouthPress=0.55, mouthRollLower=0.35, mouthRollUpper=0.3)
_DENTAL = _pose(mouthRollLower=0.55, mouthUpperUp=0.3, jawOpen=0.04)
_OPEN = _pose(jawOpen=0.65, mouthLowerDown=0.25, mouthUpperUp=0.1)
_TONGUE_TEETH = _pose(jawOpen=0.12, tongueOut=0.45, mouthUpperUp=0.12, mouthLowerDown=0.2)
_TONGUE_RIDGE = _pose(jawOpen=0.14, mouthLowerDown=0.4, mouthShrugUpper=0.1, tongueOut=0.06)
_BACK = _pose(jawOpen=0.22, mouthShrugUpper=0.15, mouthFrown=0.12)
_HUSH = _pose(mouthFunnel=0.55, mouthShrugUpper=0.25, mouthUpperUp=0.15, jawOpen=0.05)
_HISS = _pose(mouthDimple=0.3, mouthLowerDown=0.35, mouthUpperUp=0.25, jawOpen=0.03)
_NASAL = _pose(jawOpen=0.1, mouthDimple=0.15, mouthRollUpper=0.12, tongueOut=0.12)
_R = _pose(mouthFunnel=0.3, mouthPucker=0.25, jawOpen=0.1, mouthShrugLower=0.2)
_E = _pose(jawOpen=0.32, mouthStretch=0.4, mouthLowerDown=0.2)
_I = _pose(jawOpen=0.12, mouthSmile=0.45, mouthStretch=0.2, mouthUpperUp=0.1)
_O = _pose(jawOpen=0.45, mouthFunnel=0.55)
_U = _pose(mouthPucker=0.75, mouthFunnel=0.15, jawOpen=0.1)
_EE = _pose(mouthSmile=0.35, mouthStretch=0.35, mouthDimple=0.15, jawOpen=0.08)


def _same(poses: dict[str, Pose], **more: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Each viseme's own name in lower case, and more."""
    return {viseme: (viseme.lower(), *more.get(viseme, ())) for viseme in poses}


_OCULUS: dict[str, Pose] = {
    "sil": _REST, "PP": _CLOSED, "FF": _DENTAL, "TH": _TONGUE_TEETH, "DD": _TONGUE_RIDGE, "kk": _BACK, "CH": _HUSH,
    "SS": _HISS, "nn": _NASAL, "RR": _R, "aa": _OPEN, "E": _E, "I": _I, "O": _O, "U": _U,
}
_MICROSOFT: dict[str, Pose] = {
    "0": _REST, "1": _pose(jawOpen=0.4, mouthStretch=0.15, mouthUpperUp=0.1), "2": _OPEN,
    "3": _pose(jawOpen=0.5, mouthFunnel=0.4, mouthLowerDown=0.1), "4": _E,
    "5": _pose(jawOpen=0.2, mouthFunnel=0.3, mouthShrugLower=0.3), "6": _EE, "7": _U,
    "8": _pose(jawOpen=0.3, mouthFunnel=0.35, mouthPucker=0.35),
    "9": _pose(jawOpen=0.55, mouthPucker=0.3, mouthLowerDown=0.15),
    "10": _pose(jawOpen=0.35, mouthFunnel=0.35, mouthSmile=0.25),
    "11": _pose(jawOpen=0.5, mouthSmile=0.35, mouthLowerDown=0.15),
    "12": _pose(jawOpen=0.22, mouthUpperUp=0.22), "13": _R,
    "14": _pose(jawOpen=0.22, tongueOut=0.22, mouthSmile=0.12), "15": _HISS, "16": _HUSH, "17": _TONGUE_TEETH,
    "18": _DENTAL, "19": _TONGUE_RIDGE, "20": _BACK, "21": _CLOSED,
}
_MPFB: dict[str, tuple[str, ...]] = {
    # MPFB ends each name in its number, so the number need not be written twice.
    name[-2:].lstrip("_0") or "0": ("".join(words(name[:-2])) + (name[-2:].lstrip("_0") or "0"),)
    for name in ("sil_00", "aa_ah_ax_01", "aa_02", "ao_03", "ey_eh_uh_04", "er_05", "y_iy_ih_ix_06", "w_uw_07", "ow_08",
                 "aw_09", "oy_10", "ay_11", "h_12", "r_13", "l_14", "s_z_15", "sh_ch_jh_zh_16", "th_dh_17", "f_v_18",
                 "d_t_n_19", "k_g_ng_20", "p_b_m_21")
}
_VRM: dict[str, Pose] = {
    "aa": _OPEN, "ih": _I, "ou": _U, "ee": _pose(jawOpen=0.25, mouthStretch=0.45, mouthLowerDown=0.25), "oh": _O,
}
_RHUBARB: dict[str, Pose] = {
    "A": _CLOSED, "B": _pose(mouthDimple=0.2, mouthStretch=0.2, mouthLowerDown=0.3, mouthUpperUp=0.2, jawOpen=0.04),
    "C": _pose(jawOpen=0.32, mouthLowerDown=0.2, mouthStretch=0.15), "D": _pose(jawOpen=0.75, mouthLowerDown=0.25),
    "E": _pose(jawOpen=0.35, mouthFunnel=0.4), "F": _U, "G": _DENTAL,
    "H": _pose(jawOpen=0.35, tongueOut=0.25, mouthUpperUp=0.1), "X": _REST,
}
_CC4: dict[str, Pose] = {
    "Explosive": _CLOSED, "Dental_Lip": _DENTAL, "Tight_O": _O, "Tight": _U, "Wide": _EE, "Affricate": _HUSH,
    "Lip_Open": _pose(mouthLowerDown=0.3, mouthUpperUp=0.25), "Open": _OPEN, "Tongue_Out": _TONGUE_TEETH,
}
_DAZ: dict[str, Pose] = {
    "AA": _OPEN, "EE": _EE, "EH": _E, "ER": _R, "F": _DENTAL, "IH": _I, "IY": _pose(mouthSmile=0.5, jawOpen=0.06),
    "K": _BACK, "L": _pose(jawOpen=0.22, tongueOut=0.22, mouthSmile=0.12), "M": _CLOSED, "OW": _O, "S": _HISS,
    "SH": _HUSH, "T": _TONGUE_RIDGE, "TH": _TONGUE_TEETH, "UW": _U,
    "W": _pose(mouthPucker=0.5, mouthFunnel=0.35, mouthPress=0.1),
}

VISEME_SETS: dict[str, VisemeSet] = {
    "oculus": VisemeSet("Oculus 15 visemes", _OCULUS, _same(_OCULUS, I=("ih",), O=("oh",), U=("ou",), E=("eh",))),
    "microsoft": VisemeSet("Microsoft 22 visemes", _MICROSOFT, _same(_MICROSOFT, **_MPFB)),
    "vrm": VisemeSet("VRM visemes", _VRM, _same(_VRM, aa=("a",), ih=("i",), ou=("u",), ee=("e",), oh=("o",))),
    "rhubarb": VisemeSet("Rhubarb mouth shapes", _RHUBARB, _same(_RHUBARB)),
    "cc4": VisemeSet("Character Creator visemes", _CC4, {viseme: ("v" + viseme.replace("_", "").lower(),)
                                                         for viseme in _CC4}),
    "daz": VisemeSet("Daz visemes", _DAZ, _same(_DAZ)),
}
_ENOUGH = 0.6


def detect(names: list[str]) -> tuple[str, dict[str, str]]:
    """The viseme set that the keys `names` follow, and key → viseme; ("", {}) if none has 60 % of its keys there."""
    best, found = "", {}
    for key, chosen in VISEME_SETS.items():
        pairs: dict[str, str] = {}
        for name in names:
            viseme = chosen.viseme(name)
            if viseme is not None and viseme not in pairs.values():
                pairs[name] = viseme
        if len(pairs) >= _ENOUGH * len(chosen.poses) and len(pairs) > len(found):
            best, found = key, pairs
    return best, found
