"""The command line: `parley talk`, `parley train motion`, `parley prepare`, `parley doctor`."""

from __future__ import annotations

import argparse
import errno
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from ml_backend import __version__
from ml_backend.errors import Cancelled, ParleyError, UserInputError
from ml_backend.face_commands import add_arguments as add_face_arguments
from ml_backend.terminal import Terminal, fail

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
UNUSABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR)
INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(prog="parley", description="Audio-driven talking faces for Blender.")
    top.add_argument("--version", action="version", version=f"parley {__version__}")
    top.add_argument("--quiet", action="store_true", help="only notes and errors, no progress")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_talk(commands.add_parser("talk", help="speech + a clip, a photo or nothing → a film and a Blender scene"))
    _add_track(commands.add_parser("track", help="measure a face in a clip: a track, and the mesh over the clip"))
    _add_train(commands.add_parser("train", help="train the general weights"))
    _add_prepare(commands.add_parser("prepare", help="make training shards from folders of clips"))
    add_face_arguments(commands.add_parser("face", help="face models, random people, contact sheets"))
    commands.add_parser("doctor", help="what is installed, what is missing, and how to get it")
    return top


def _add_talk(talk: argparse.ArgumentParser) -> None:
    talk.add_argument("--speech", type=Path, help="audio or video file with sound (left out: a bundled sample)")
    talk.add_argument("--target", type=Path, help="clip or photo of the person (left out: the built-in head)")
    talk.add_argument("--character", type=Path, metavar="NPZ", help="a person made by `parley face random`")
    talk.add_argument("--face-model", default="parley", metavar="NAME", help="see `parley face list` (default: parley)")
    talk.add_argument("--out", type=Path, default=Path("film.mp4"), help="the film (default: film.mp4)")
    talk.add_argument("--scene", type=Path, help="also save an editable Blender scene here (.blend)")
    talk.add_argument("--engine", choices=("eevee", "workbench"), default="eevee", help="renderer (default: eevee)")
    talk.add_argument("--size", type=int, default=512, help="side of the rendered square in pixels (default: 512)")
    _add_face(talk)
    talk.add_argument("--seed", type=int, default=0, help="seed of everything random (default: 0)")
    talk.add_argument(
        "--pose",
        choices=("predicted", "clip", "still", "frontal"),
        default="predicted",
        help="where head pose comes from (default: predicted from the speech, in the person's manner)",
    )
    talk.add_argument("--no-refine", action="store_true", help="leave the refining network out")
    talk.add_argument(
        "--refine-minutes",
        type=float,
        default=4.0,
        metavar="M",
        help="time for fitting the refiner to the clip (default: 4)",
    )
    talk.add_argument(
        "--target-seconds",
        type=float,
        default=12.0,
        metavar="S",
        help="how much of the clip to use, from its start (default: 12)",
    )
    talk.add_argument("--keep", type=Path, metavar="TAKE_DIR", help="folder of intermediate files (default: FILM.take)")
    talk.add_argument("--overwrite", action="store_true", help="replace a film or scene that this take did not write")
    talk.add_argument("--blender", help="Blender executable to use instead of the bpy module")


def _add_face(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--face",
        default="largest",
        metavar="left|right|N",
        help="which face, where there are several; N counts from the left (default: the largest)",
    )


def _add_track(track: argparse.ArgumentParser) -> None:
    track.add_argument("clip", type=Path, metavar="CLIP", help="clip or photo of the person")
    track.add_argument("--out", type=Path, required=True, metavar="NPZ", help="the track")
    track.add_argument("--preview", type=Path, metavar="FILE", help="the fitted mesh over the clip: .png or .mp4")
    _add_face(track)
    track.add_argument("--target-seconds", type=float, metavar="S", help="how much, from the start (default: all)")
    track.add_argument("--face-model", default="parley", metavar="NAME", help="see `parley face list`")
    track.add_argument("--overwrite", action="store_true", help="replace a track and a preview made by this command")


def _add_train(train: argparse.ArgumentParser) -> None:
    train.add_argument("what", choices=("motion",), help="which network")
    train.add_argument("dataset", type=Path, help="folder of shards made by `parley prepare`")
    train.add_argument("--out", type=Path, required=True, help="folder for the weights and the curve")
    train.add_argument("--config", default="default", choices=("default", "yi2020"))
    train.add_argument("--steps", type=int, default=450)
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--fresh", action="store_true", help="start over instead of resuming")


def _add_prepare(prepare: argparse.ArgumentParser) -> None:
    prepare.add_argument("folders", type=Path, nargs="+", help="folders of clips with sound")
    prepare.add_argument("--out", type=Path, required=True, help="folder of shards to write")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = parser().parse_args(arguments)
    terminal = Terminal(quiet=options.quiet)
    _stop_on_signals()
    try:
        _run(options, terminal)
    except (KeyboardInterrupt, Cancelled):
        fail("stopped; run the same command again to resume.")
        return INTERRUPTED
    except ParleyError as error:
        fail(str(error))
        return error.exit_code
    except OSError as error:
        if error.errno not in DISK_FULL + UNUSABLE:
            raise
        fail(_trouble(error))
        return UserInputError.exit_code
    return 0


def _trouble(error: OSError) -> str:
    """The sentence for a file system that refuses."""
    where = error.filename or "a file"
    if error.errno in DISK_FULL:
        return f"The disk is full ({where}); free some space and run the same command again: it resumes."
    return f"{where} can't be used ({error.strerror}); give --out (and --scene, --keep) in a folder of yours."


def _stop_on_signals() -> None:
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # What is ignored stays ignored: `nohup parley …` survives its terminal.
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _terminate)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(options: argparse.Namespace, terminal: Terminal) -> None:
    # Imported late: `parley --help` must not wait for torch.
    if options.command == "talk":
        from ml_backend.talk.options import TalkOptions, default_speech
        from ml_backend.talk.run import talk

        talk(
            TalkOptions(
                speech=options.speech or default_speech(),
                target=options.target,
                out=options.out,
                scene=options.scene,
                engine=options.engine,
                size=options.size,
                seed=options.seed,
                refine=not options.no_refine,
                refine_minutes=options.refine_minutes,
                target_seconds=options.target_seconds,
                pose=options.pose,
                face_model=options.face_model,
                face=options.face,
                character=options.character,
                keep=options.keep,
                overwrite=options.overwrite,
                blender=options.blender,
            ),
            terminal,
        )
    elif options.command == "train":
        from ml_backend.training import train_motion

        train_motion(options, terminal)
    elif options.command == "track":
        from ml_backend import track_command

        track_command.run(options, terminal)
    elif options.command == "face":
        from ml_backend.face_commands import run

        run(options, terminal)
    elif options.command == "prepare":
        from ml_backend.training import prepare

        prepare(options, terminal)
    else:
        from ml_backend.doctor import report

        sys.stdout.write(report() + "\n")


if __name__ == "__main__":
    sys.exit(main())
