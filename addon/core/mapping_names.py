"""Names of shape keys in any spelling: taken apart into words and a side, put together again for comparison.

`eyeBlinkLeft`, `EyeBlink_L`, `EYE_BLINK_LEFT`, `Head_eyeBlink.L`, `blendShape1.eyeBlinkLeft` and
`facs_bs_EyeBlinkLeft_div2` all come out as the stem "eyeblink" and the side "left".
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from .channels import ARKIT

LEFT, RIGHT, MIDDLE = "left", "right", ""
_SIDES = {"l": LEFT, "left": LEFT, "lft": LEFT, "lf": LEFT, "r": RIGHT, "right": RIGHT, "rgt": RIGHT, "rt": RIGHT}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_COPY = re.compile(r"\.\d{3}$")
_DAZ_TAIL = re.compile(r"_div\d+$", re.IGNORECASE)

_SYNONYMS = {
    "eyes": "eye", "eyelid": "eye", "eyelids": "eye", "lid": "eye", "lids": "eye", "eyebrow": "brow",
    "eyebrows": "brow", "brows": "brow", "lips": "mouth", "lip": "mouth", "cheeks": "cheek", "nostril": "nose",
    "closed": "close", "wink": "blink", "raise": "up", "raised": "up", "raiser": "up", "raises": "up",
    "drop": "down", "lowered": "down", "depress": "down", "kiss": "pucker", "purse": "pucker", "grin": "smile",
    "sad": "frown", "wrinkle": "sneer", "wrinkler": "sneer", "fwd": "forward", "forwards": "forward",
    "widen": "wide", "inner": "inner", "in": "in", "squeeze": "squint", "blow": "puff", "wider": "wide",
    "opened": "open", "opening": "open", "jaws": "jaw", "upwards": "up", "downwards": "down",
}
_NOISE = frozenset({"ctrl", "expressions", "expression", "facs", "bs", "jnt", "head", "face", "blend", "shape",
                    "shapes", "key", "morph", "target", "e", "fcl", "cbs", "exp", "arkit", "ar", "kit"})


@dataclass(frozen=True)
class Name:
    """A shape key's name taken apart.

    Attributes
    ----------
    words : lower-case words without the side
    side : "left", "right" or "" (of the person)
    """

    words: tuple[str, ...]
    side: str

    @property
    def stem(self) -> str:
        """The words in one."""
        return "".join(self.words)


def words(name: str) -> list[str]:
    """`name` in lower-case words and numbers, the `.001` of a copy and the `_div2` of Daz left out."""
    return [word.lower() for word in _WORD.findall(_DAZ_TAIL.sub("", _COPY.sub("", name)))]


def parse(name: str) -> Name:
    """Words and side of `name`; the side may be its last word, its first, or (in lower case) the end of its last."""
    parts = words(name)
    if len(parts) > 1 and parts[-1] in _SIDES:
        return Name(tuple(parts[:-1]), _SIDES[parts[-1]])
    if len(parts) > 1 and parts[0] in _SIDES:
        return Name(tuple(parts[1:]), _SIDES[parts[0]])
    for side in (LEFT, RIGHT):
        if parts and parts[-1].endswith(side) and len(parts[-1]) > len(side):
            return Name((*parts[:-1], parts[-1][: -len(side)]), side)
    return Name(tuple(parts), MIDDLE)


_ARKIT = {(parse(name).stem, parse(name).side): name for name in ARKIT}
_PARSED = {name: parse(name) for name in ARKIT}
_FACE_WORDS = (frozenset(_SYNONYMS) | {word for name in _PARSED.values() for word in name.words}) - _NOISE


def tails(name: str) -> list[Name]:
    """`name` taken apart, then without its first word, its first two …: prefixes of meshes and tools fall away.

    A single word is left only where the prefix says nothing about a face: `Head_mouthLeft` is a mouth that goes left,
    `sad_mouth_left` is not.
    """
    whole = parse(name)
    starts = [start for start in range(len(whole.words))
              if start == 0 or start < len(whole.words) - 1 or not _FACE_WORDS & set(whole.words[:start])]
    return [Name(whole.words[start:], whole.side) for start in starts]


def exact(name: str) -> tuple[str, ...]:
    """The ARKit shapes that `name` spells, () if none.

    One, usually; both sides of a pair for a name without a side; the middle shape for one half of a split one
    (`browInnerUp_L`, `cheekPuffRight`).
    """
    for tail in tails(name):
        if (tail.stem, tail.side) in _ARKIT:
            return (_ARKIT[tail.stem, tail.side],)
        if tail.side and (tail.stem, MIDDLE) in _ARKIT:
            return (_ARKIT[tail.stem, MIDDLE],)
        if not tail.side and len(tail.words) > 1 and (tail.stem, LEFT) in _ARKIT:
            return (_ARKIT[tail.stem, LEFT], _ARKIT[tail.stem, RIGHT])
    return ()


def nearest(name: str, threshold: float = 0.6) -> tuple[tuple[str, ...], float]:
    """The ARKit shapes whose words come closest to those of `name`, and how close, in [0, 1].

    Both sides of a pair where `name` has none. ((), 0) if nothing comes closer than `threshold`.
    """
    given = parse(name)
    mine = [word for word in map(_plain, given.words) if word not in _NOISE and not word.isdigit()]
    if not mine:
        return (), 0.0
    scores = {shape: _likeness(mine, [_plain(word) for word in parsed.words])
              for shape, parsed in _PARSED.items() if not given.side or parsed.side in (given.side, MIDDLE)}
    best = max(scores.values(), default=0.0)
    if best < threshold:
        return (), 0.0
    # Equal scores beyond a pair mean that the name says too little to choose.
    found = tuple(shape for shape, score in scores.items() if score > best - 1e-6)
    stems = {_PARSED[shape].stem for shape in found}
    return (found, best) if len(stems) == 1 else ((), 0.0)


def _plain(word: str) -> str:
    return _SYNONYMS.get(word, word)


def _likeness(mine: list[str], theirs: list[str]) -> float:
    """In [0, 1]: mean of how well each word of either has a counterpart in the other; "eye close" is a blink."""
    if "eye" in mine and "close" in mine:
        mine = ["blink" if word == "close" else word for word in mine]
    best = [max(_same(a, b) for b in theirs) for a in mine] + [max(_same(a, b) for a in mine) for b in theirs]
    return sum(best) / len(best)


def _same(a: str, b: str) -> float:
    """1 for equal words, else how alike they are spelled, nothing below 0.75."""
    if a == b:
        return 1.0
    ratio = difflib.SequenceMatcher(None, a, b).ratio()
    return ratio if ratio >= 0.75 else 0.0
