"""Which of a rig's shape keys follow which of the 52 ARKit shapes, found by name, and what they then do over time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from .channels import ARKIT
from .errors import UserInputError
from .mapping_names import exact, nearest
from .mapping_reduce import reduce_to_poses
from .mapping_solve import Terms, box_least_squares
from .mapping_tables import OFF, known
from .mapping_visemes import VISEME_SETS, VisemeSet, detect

DIRECT, POSE = "direct", "pose"
_FUZZY_ON = 0.7
_MOUTH_IS_KNOWN = 10
_FUZZY = "similar name"


@dataclass(frozen=True)
class Pair:
    """One shape key of the rig and what drives it.

    Attributes
    ----------
    mesh, target : the object and its shape key
    sources : ARKit shape → weight
    kind : "direct": the key's weight is Σ sourceᵢ · weightᵢ; "pose": the key shows all of `sources` at once, and its
        weight is found together with the other poses'
    confidence : in [0, 1], how sure the match is
    origin : what it was found by
    enabled : whether it is written
    """

    mesh: str
    target: str
    sources: Mapping[str, float]
    kind: str = DIRECT
    confidence: float = 1.0
    origin: str = "ARKit"
    enabled: bool = True

    @property
    def text(self) -> str:
        """The sources for people: `jawOpen` or `eyeBlinkLeft*0.5 + eyeBlinkRight*0.5`."""
        if not self.sources:
            return "rest"
        return " + ".join(name if abs(weight - 1) < 1e-6 else f"{name}*{weight:.4g}"
                          for name, weight in self.sources.items())


@dataclass(frozen=True)
class Options:
    """How a mapping is evaluated.

    Attributes
    ----------
    amount : multiplies every weight
    smooth : how much solved weights are held together over time, 0 = not
    grams : mesh → its keys' names and their (K, K) products of displacements; meshes whose keys were solved from
        geometry get weights that are right together, not one by one
    """

    amount: float = 1.0
    smooth: float = 1.0
    grams: Mapping[str, tuple[list[str], np.ndarray]] = field(default_factory=dict)


def auto_map(meshes: Mapping[str, Iterable[str]]) -> list[Pair]:
    """Pairs for every shape key of `meshes` (object → names of its keys without the basis) whose name says something.

    In the order of the keys. Raises `UserInputError` if no name of any mesh does.
    """
    everything = [name for names in meshes.values() for name in names]
    chosen, visemes = detect(list(dict.fromkeys(everything)))
    found = [pair for mesh, names in meshes.items() for name in names
             if (pair := _by_name(mesh, name, chosen, visemes)) is not None]
    if not found:
        raise UserInputError(f"None of the {len(everything)} shape keys has a name that Parley knows; "
                             "use Solve from Geometry, or load a preset.")
    return _without_doubles(found)


def _by_name(mesh: str, name: str, chosen: str, visemes: Mapping[str, str]) -> Pair | None:
    shapes = exact(name)
    if shapes:
        share = 1 / len(shapes)
        return Pair(mesh, name, dict.fromkeys(shapes, share), confidence=1.0 if len(shapes) == 1 else 0.9)
    if name in visemes:
        kind: VisemeSet = VISEME_SETS[chosen]
        return Pair(mesh, name, dict(kind.poses[visemes[name]]), POSE, 0.95, kind.title)
    entry = known(name)
    if entry is not None:
        convention, weights = entry
        on = convention not in OFF
        return Pair(mesh, name, dict(weights), confidence=0.9 if on else 0.5, origin=convention, enabled=on)
    shapes, score = nearest(name)
    if shapes:
        confidence = round(0.9 * score, 3)
        return Pair(mesh, name, dict.fromkeys(shapes, 1 / len(shapes)), confidence=confidence, origin=_FUZZY,
                    enabled=confidence >= _FUZZY_ON)
    return None


def _without_doubles(pairs: list[Pair]) -> list[Pair]:
    """Pairs that would move a second time what a surer one moves already are switched off, not removed."""
    single = {(pair.mesh, shape) for pair in pairs if pair.kind == DIRECT and pair.enabled and pair.origin != _FUZZY
              and len(pair.sources) == 1 for shape in pair.sources}
    mouth = {shape for _, shape in single if shape.startswith(("mouth", "jaw"))}
    speaks = len(mouth) >= _MOUTH_IS_KNOWN and "jawOpen" in mouth
    return [replace(pair, enabled=False) if _is_double(pair, single, speaks) else pair for pair in pairs]


def _is_double(pair: Pair, single: set[tuple[str, str]], speaks: bool) -> bool:
    if pair.kind == POSE:
        return speaks
    if len(pair.sources) == 1 and pair.origin != _FUZZY:
        return False
    return any((pair.mesh, shape) in single for shape in pair.sources)


def evaluate(pairs: Iterable[Pair], weights: np.ndarray, names: list[str], rate: float,
             options: Options | None = None) -> dict[tuple[str, str], np.ndarray]:
    """What the enabled pairs' keys do.

    Parameters
    ----------
    weights : (T, C) in [0, 1] of the ARKit shapes `names` (C); shapes that are not among them are 0
    rate : samples per second
    options : amounts and terms

    Returns
    -------
    (mesh, key) → (T,) float32 in [0, 1]

    Raises
    ------
    UserInputError
        If no pair is enabled, or none of `names` is an ARKit shape.
    """
    options = options or Options()
    chosen = [pair for pair in pairs if pair.enabled]
    if not chosen:
        raise UserInputError("No pair of the mapping is switched on; press Map by Name or tick one in the list.")
    if not set(names) & set(ARKIT):
        raise UserInputError("The motion has none of ARKit's 52 shapes; make it with a face model that has them.")
    at = {name: index for index, name in enumerate(names)}
    result = _poses([pair for pair in chosen if pair.kind == POSE], weights, names, rate, options.smooth)
    for pair in chosen:
        if pair.kind == DIRECT:
            parts = [weight * weights[:, at[shape]] for shape, weight in pair.sources.items() if shape in at]
            values = np.sum(parts, axis=0) if parts else np.zeros(len(weights))
            key = (pair.mesh, pair.target)
            result[key] = result[key] + values if key in result else values
    for mesh, (keys, gram) in options.grams.items():
        _together(result, mesh, keys, gram, options.smooth, rate)
    return {key: np.clip(options.amount * values, 0, 1).astype(np.float32) for key, values in result.items()}


def _poses(pairs: list[Pair], weights: np.ndarray, names: list[str], rate: float,
           smooth: float) -> dict[tuple[str, str], np.ndarray]:
    """Poses of all meshes are solved together: teeth follow the head."""
    distinct: dict[tuple[tuple[str, float], ...], int] = {}
    for pair in pairs:
        distinct.setdefault(tuple(sorted(pair.sources.items())), len(distinct))
    solved = reduce_to_poses(weights, names, [dict(pose) for pose in distinct], rate, smooth)
    return {(pair.mesh, pair.target): solved[:, distinct[tuple(sorted(pair.sources.items()))]] for pair in pairs}


def _together(result: dict[tuple[str, str], np.ndarray], mesh: str, keys: list[str], gram: np.ndarray,
              smooth: float, rate: float) -> None:
    """Replace the weights of `mesh`'s keys by those in the box that move the vertices the same way, smoothly.

    What one key can't do alone (weights above 1) its neighbours take over.
    """
    moved = [index for index, key in enumerate(keys) if (mesh, key) in result]
    if not moved:
        return
    wanted = np.stack([result[mesh, keys[index]] for index in moved], 1)
    part = gram[np.ix_(moved, moved)]
    # Keys that undo each other (jaw left, jaw right) leave a choice: the weights stay as near as may be.
    near = {"pull": np.full(wanted.shape, 0.05), "towards": np.clip(wanted, 0, 1)}
    terms = Terms(l2=0, temporal=0.002 * smooth * (rate / 30) ** 2, **near)
    solved = box_least_squares(part, wanted @ part, terms, steps=800)
    for column, index in enumerate(moved):
        result[mesh, keys[index]] = solved[:, column]


def unmapped(pairs: Iterable[Pair]) -> list[str]:
    """ARKit shapes that no enabled pair uses, in ARKit's order."""
    used = {shape for pair in pairs if pair.enabled for shape in pair.sources}
    return [shape for shape in ARKIT if shape not in used]
