"""`parley animate` and `parley personalise`: performances and personal weights as files of their own, no Blender."""

from __future__ import annotations

import shutil

from ml_backend.artefacts import livelink
from ml_backend.artefacts.performance import Performance
from ml_backend.audio.load import load_speech
from ml_backend.config import motion_weights
from ml_backend.data.video import probe
from ml_backend.errors import UserInputError
from ml_backend.take import Take
from ml_backend.talk.donor import check_donor
from ml_backend.talk.film import deliver
from ml_backend.talk.options import TalkOptions, check_inputs
from ml_backend.talk.session import Session
from ml_backend.talk.speaking import perform, personal_weights
from ml_backend.talk.target import load_tracked
from ml_backend.terminal import Terminal

FORMATS = (".npz", ".csv")
TEACHES_NOTHING = "The clip is a photo, silent or too short; the general weights are used."


def animate(options: TalkOptions, terminal: Terminal) -> Performance:
    """Speech to a performance, in the manner of ``options.target`` if there is one.

    Raises
    ------
    ParleyError
        With one sentence for the user; what is done so far stays in the take folder.
    """
    if options.out.suffix.lower() not in FORMATS:
        raise UserInputError(f"--out {options.out} must end in .npz (Parley's) or .csv (Live Link Face).")
    check_inputs(options)
    speech = load_speech(options.speech)
    if options.target is not None:
        probe(options.target)  # refused before a take folder is made
    if options.pose_from is not None:
        check_donor(options.pose_from)
    take = Take.open(options.take_folder)
    try:
        take.guard(options.out, overwrite=options.overwrite)
        session = Session.start(options, terminal, take, None)
        target = load_tracked(session) if options.target is not None else None
        weights = personal_weights(session, target) if target is not None else motion_weights(options.weights)
        performance = perform(session, speech, weights, target)
        made = take.path("performance.npz")
        if options.out.suffix.lower() == ".csv":
            made = take.path("performance.csv")
            livelink.save(performance, made)
        deliver(session, made, options.out)
    finally:
        take.close()
    terminal.say(f"Performance: {options.out} ({len(performance)} frames, {speech.seconds:.1f} s).")
    return performance


def learn(options: TalkOptions, terminal: Terminal) -> None:
    """Personal weights from the clip ``options.target``; the general ones are copied where the clip teaches nothing.

    Raises
    ------
    ParleyError
        With one sentence for the user.
    """
    if options.out.suffix.lower() != ".safetensors":
        raise UserInputError(f"--out {options.out} must end in .safetensors.")
    check_inputs(options)
    assert options.target is not None
    probe(options.target)
    take = Take.open(options.take_folder)
    try:
        take.guard(options.out, overwrite=options.overwrite)
        session = Session.start(options, terminal, take, None)
        weights = personal_weights(session, load_tracked(session))
        facts = session.facts.get("personalise", {})
        if not facts.get("kept"):
            terminal.warn(facts.get("reason") or TEACHES_NOTHING)
        own = take.path("learned.safetensors")
        shutil.copyfile(weights, own)
        deliver(session, own, options.out)
    finally:
        take.close()
    gain = f": opening r {facts['before']:.2f} → {facts['after']:.2f} on its held-out end" if facts.get("kept") else ""
    terminal.say(f"Weights: {options.out}{gain}.")
