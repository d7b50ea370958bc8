"""`parley evaluate`: how well motion and films match clips whose truth is known, as figures, tables and plots."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from ml_backend.config import motion_weights
from ml_backend.errors import UserInputError
from ml_backend.terminal import Terminal

if TYPE_CHECKING:
    from ml_backend.evaluation.film import FilmOptions
    from ml_backend.evaluation.run import EvaluateOptions

OFFSETS = ("auto", "index", "estimate", "none")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The options of the command."""
    command.add_argument("clips", type=Path, nargs="*", metavar="CLIP", help="clips with sound, or folders of them")
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER",
                         help="metrics.json, table.md and plots; what an earlier run found there is used again")
    command.add_argument("--weights", action="append", default=[], metavar="[NAME=]PATH",
                         help="motion weights, several times to compare; the first gets the ablations "
                              "(default: the shipped ones, which are also called 'default')")
    command.add_argument("--personalise-seconds", type=float, default=12.0, metavar="S",
                         help="personalise on each clip's beginning and judge the rest; 0 = don't (default: 12)")
    command.add_argument("--split", metavar="NAME", help="only clips of this split of the index, e.g. validate")
    command.add_argument("--index", type=Path, metavar="CSV",
                         help="file, audio_late_ms and split of clips (default: index.csv beside them)")
    command.add_argument("--offset", choices=OFFSETS, default="auto",
                         help="how late the sound is: as the index says, as estimated, not at all, or the first of "
                              "these that is known (default: auto)")
    command.add_argument("--phones", type=Path, metavar="FOLDER",
                         help="judge closures on p, b and m instead: CLIPs are sound, FOLDER has their NAME.phone.json")
    command.add_argument("--seed", type=int, default=0, help="seed of everything random (default: 0)")
    command.add_argument("--face-model", default="parley", metavar="NAME", help="see `parley face list`")
    command.add_argument("--face", default="speaking", metavar="largest|left|right|N",
                         help="which face of several (default: the one whose lips go best with the sound)")
    film = command.add_argument_group("a film against its clip, picture by picture")
    film.add_argument("--film", type=Path, help="film to judge, e.g. made by `parley talk`")
    film.add_argument("--clip", type=Path, help="what the person really does in it")
    film.add_argument("--from", type=float, default=0.0, dest="start", metavar="S",
                      help="second of the clip at which the film begins (default: 0)")
    film.add_argument("--take", type=Path, metavar="TAKE_DIR",
                      help="folder of the film's intermediate files, for the refiner's attention (default: FILM.take)")
    film.add_argument("--lpips", type=Path, metavar="FOLDER", help="weights for LPIPS: alexnet and lin .safetensors")
    film.add_argument("--identity", choices=("auto", "arcface", "embedded"), default="auto",
                      help="encoder of the identity (default: ArcFace where a pack is installed)")


def run(options: argparse.Namespace, terminal: Terminal) -> None:
    """Do what the command line says; raises `ParleyError`."""
    if options.film or options.clip:
        film = _film_options(options)
        from ml_backend.evaluation.film import evaluate_film

        evaluate_film(film, terminal)
        return
    clips = _clip_options(options)
    if options.phones is not None:
        from ml_backend.evaluation.phones import PhoneOptions, evaluate_phones

        evaluate_phones(PhoneOptions(clips.clips, options.phones, clips.out, clips.weights, clips.seed,
                                     clips.face_model), terminal)
        return
    from ml_backend.evaluation.run import evaluate

    evaluate(clips, terminal)


def _film_options(options: argparse.Namespace) -> FilmOptions:
    if options.clips or not (options.film and options.clip):
        raise UserInputError("A film is judged with --film FILM --clip CLIP and no other clips; give both.")
    for path in (options.film, options.clip):
        if not path.exists():
            raise UserInputError(f"{path} does not exist; check --film and --clip.")
    if not (math.isfinite(options.start) and options.start >= 0):
        raise UserInputError(f"--from {options.start:g} is no second of a clip; give 0 or more.")
    from ml_backend.evaluation.film import FilmOptions

    return FilmOptions(options.film, options.clip, options.out, options.start, options.take, options.lpips,
                       options.identity, options.face_model)


def _clip_options(options: argparse.Namespace) -> EvaluateOptions:
    if not options.clips:
        raise UserInputError("There is nothing to evaluate; give clips, folders of them, or --film with --clip.")
    seconds = options.personalise_seconds
    if not (math.isfinite(seconds) and (seconds == 0 or seconds >= 4)):
        raise UserInputError(f"--personalise-seconds {seconds:g} is too short to learn from; give 4 or more, or 0.")
    given = [_named(text) for text in options.weights] or [("parley", motion_weights())]
    from ml_backend.evaluation.run import EvaluateOptions

    return EvaluateOptions(options.clips, options.out, given, seconds, options.split, options.index, options.offset,
                           options.seed, options.face_model, options.face)


def _named(text: str) -> tuple[str, Path]:
    """Name and file in ``NAME=PATH`` or ``PATH``; the file's stem is its name then."""
    name, equals, path = text.partition("=")
    path = path if equals else text
    file = motion_weights() if path == "default" else Path(path)
    if not file.is_file():
        raise UserInputError(f"{file} does not exist; --weights wants a .safetensors file of `parley train motion`.")
    return (name if equals and name else file.stem), file
