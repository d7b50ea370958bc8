"""`parley talk`, `parley animate` and `parley personalise`: their options, and nothing that takes time to import."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ml_backend.terminal import Terminal

if TYPE_CHECKING:
    from ml_backend.talk.options import TalkOptions

COMMANDS = ("talk", "animate", "personalise")
CONTROLS = (
    ("mouth", "X", "how far the mouth goes (1 = as the person's)"),
    ("upper-face", "X", "how far brows, cheeks, nose and lids go (1 = as the person's)"),
    ("brows", "X", "a further factor on the brows"),
    ("blink-rate", "X", "factor on the person's blinks a minute (0 = none)"),
    ("emotion-strength", "X", "how strong the emotion is (0 to 3)"),
    ("smoothing-ms", "MS", "smooth the face over time by so many milliseconds"),
    ("lead-ms", "MS", "move the face so much earlier than the sound"),
)
HEAD_CONTROLS = (
    ("gaze", "how far the eyes stay on their aim while the head turns (0 to 1)"),
    ("saccades", "size of the small eye movements (1 = as the person's, 0 = none)"),
    ("accents", "how far brows rise on stressed syllables (1 = as the person's, 0 = not)"),
    ("blink-asymmetry", "how unlike the two lids blink (1 = as most people's, 0 = alike)"),
)


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Register the three commands."""
    talk = commands.add_parser("talk", help="speech + a clip, a photo or nothing → a film and a Blender scene")
    _add_speech(talk)
    _add_person(talk)
    _add_film(talk)
    animate = commands.add_parser("animate", help="speech → a performance (.npz, or .csv as Live Link Face), no film")
    _add_speech(animate)
    _add_person(animate)
    animate.add_argument("--out", type=Path, required=True, metavar="FILE", help="the performance: .npz or .csv")
    learn = commands.add_parser("personalise", help="learn a person's way of speaking from a clip")
    learn.add_argument("target", type=Path, metavar="CLIP", help="clip of the person speaking")
    learn.add_argument("--out", type=Path, required=True, metavar="WEIGHTS", help="the weights (.safetensors)")
    for command in (animate, learn):
        command.add_argument("--keep", type=Path, metavar="TAKE_DIR", help="folder of intermediate files (default: "
                                                                           "OUT.take)")
        command.add_argument("--overwrite", action="store_true", help="replace a file that this take did not write")
    for command in (talk, animate, learn):
        _add_common(command)


def _add_speech(command: argparse.ArgumentParser) -> None:
    command.add_argument("--speech", type=Path, help="audio or video file with sound (left out: a bundled sample)")
    command.add_argument("--text", metavar="TEXT|FILE", help="what is said, in English: p, b and m then meet exactly")
    command.add_argument("--target", type=Path, help="clip or photo of the person (left out: the built-in head)")
    command.add_argument(
        "--pose",
        choices=("predicted", "clip", "still", "frontal"),
        default="predicted",
        help="where head pose comes from (default: predicted from the speech, in the person's manner)",
    )
    command.add_argument("--pose-from", type=Path, metavar="CLIP", help="play the head motion of another clip instead")


def _add_person(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("the performance")
    for name, unit, meaning in CONTROLS:
        group.add_argument(f"--{name}", type=float, metavar=unit, default=argparse.SUPPRESS, help=meaning)
    group.add_argument("--pose-amount", metavar="X|AXIS=X,...", default="1",
                       help="how far the head moves: a number, or axes as in yaw=.5,roll=0 (default: 1)")
    for name, meaning in HEAD_CONTROLS:
        group.add_argument(f"--{name}", type=float, metavar="X", default=argparse.SUPPRESS, help=meaning)
    group.add_argument("--emotion", metavar="NAME", default=argparse.SUPPRESS,
                       help="neutral, happy, sad, angry, surprised, afraid, disgusted or contempt")
    group.add_argument("--no-quiet-lips", dest="quiet_lips", action="store_false", default=argparse.SUPPRESS,
                       help="leave the lips as the network moves them where nobody speaks")
    group.add_argument("--no-contact", dest="contact", action="store_false", default=argparse.SUPPRESS,
                       help="leave the lips as the network moves them on p, b and m")


def _add_film(talk: argparse.ArgumentParser) -> None:
    talk.add_argument("--character", type=Path, metavar="NPZ", help="a person made by `parley face random`")
    talk.add_argument("--out", type=Path, default=Path("film.mp4"), help="the film (default: film.mp4)")
    talk.add_argument("--scene", type=Path, help="also save an editable Blender scene here (.blend)")
    talk.add_argument("--engine", choices=("eevee", "workbench"), default="eevee", help="renderer (default: eevee)")
    talk.add_argument("--size", type=int, default=512, help="side of the rendered square in pixels (default: 512)")
    talk.add_argument("--motion-blur", type=float, default=0.0, metavar="X",
                      help="share of a frame's time that the shutter is open, .5 as in most films (default: 0)")
    talk.add_argument("--processes", type=int, default=0, metavar="N",
                      help="Blenders that render at once (default: as cores and memory allow)")
    talk.add_argument("--preview", type=Path, metavar="FILE.png",
                      help="only the first, middle and last frame, and beside them 2 s of film; then stop")
    talk.add_argument("--crop", type=Path, metavar="FILE.mp4", help="also a film of the face crop alone")
    talk.add_argument("--frames", type=Path, metavar="FOLDER",
                      help="also numbered images for compositors: the film, the face with alpha, what is behind it")
    talk.add_argument("--frames-format", choices=("png", "exr"), default="png",
                      help="PNG, straight alpha (default), or OpenEXR, linear, premultiplied")
    talk.add_argument("--cue-sheet", type=Path, metavar="FILE.csv",
                      help="also time code, plate and head pose of every frame")
    talk.add_argument("--no-refine", action="store_true", help="leave the refining network out")
    talk.add_argument(
        "--refine-minutes",
        type=float,
        default=4.0,
        metavar="M",
        help="time for fitting the refiner to the clip (default: 4)",
    )
    talk.add_argument("--refine-strength", type=float, default=1.0, metavar="0..1",
                      help="how much of the refined face is used (default: 1, all of it)")
    talk.add_argument("--identity", choices=("auto", "arcface", "embedded"), default="auto",
                      help="whose features tell the refiner who it is (default: ArcFace where a pack is installed)")
    talk.add_argument("--keep", type=Path, metavar="TAKE_DIR", help="folder of intermediate files (default: FILM.take)")
    talk.add_argument("--overwrite", action="store_true", help="replace a film or scene that this take did not write")
    talk.add_argument("--blender", help="Blender executable to use instead of the bpy module")


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--weights",
        default="default",
        metavar="default|open|FILE",
        help="general motion weights: the best there are, those learned from open data alone, or a file",
    )
    command.add_argument(
        "--face-model", default="parley", metavar="NAME", help="see `parley face list` (default: parley)"
    )
    add_face(command)
    command.add_argument("--seed", type=int, default=0, help="seed of everything random (default: 0)")
    command.add_argument(
        "--target-seconds",
        type=float,
        default=12.0,
        metavar="S",
        help="how much of the clip to use, from its start (default: 12)",
    )


def add_face(command: argparse.ArgumentParser) -> None:
    """How a face is found in a clip, which `parley track` has too: which one, and by whose networks."""
    command.add_argument(
        "--face",
        default="largest",
        metavar="left|right|speaking|N",
        help="which face, where there are several; speaking is the one whose lips go with the sound, N counts from "
        "the left (default: the largest)",
    )
    command.add_argument(
        "--landmarks",
        choices=("mediapipe", "insightface"),
        default="mediapipe",
        help="whose networks measure the face; insightface needs a model pack of yours (default: mediapipe)",
    )
    command.add_argument(
        "--insightface-root",
        type=Path,
        metavar="DIR",
        help="where insightface's model pack lies (default: PARLEY_INSIGHTFACE_ROOT, else ~/.insightface)",
    )


def run(options: argparse.Namespace, terminal: Terminal) -> None:
    """Do the command; raises `ParleyError`."""
    # Imported late: `parley --help` must not wait for torch.
    if options.command == "talk":
        from ml_backend.talk.run import talk

        talk(talk_options(options), terminal)
    elif options.command == "animate":
        from ml_backend.talk.animate import animate

        animate(talk_options(options), terminal)
    else:
        from ml_backend.talk.animate import learn

        learn(talk_options(options), terminal)


def talk_options(options: argparse.Namespace) -> TalkOptions:
    """The command line as `TalkOptions`; raises `UserInputError` for controls out of range."""
    from ml_backend.motion.controls import Controls
    from ml_backend.motion.head_controls import HeadControls, parse_amount
    from ml_backend.talk.options import TalkOptions, default_speech

    given = vars(options)
    names = {field for field in TalkOptions.__dataclass_fields__ if field in given} - {"speech"}
    controls = {field: given[field] for field in Controls.__dataclass_fields__ if field in given}
    head = {field: given[field] for field in HeadControls.__dataclass_fields__ if field in given}
    return TalkOptions(
        head=HeadControls(amount=parse_amount(given.get("pose_amount", "1")), **head),
        speech=given.get("speech") or default_speech(),
        refine=not given.get("no_refine", False),
        controls=Controls(**controls),
        **{name: given[name] for name in names},
    )
