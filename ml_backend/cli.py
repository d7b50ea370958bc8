"""The command line, `parley COMMAND`: which commands there are, and how each failure ends."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from ml_backend import __version__, insightface_pack, talk_command
from ml_backend.errors import Cancelled, ParleyError, UserInputError
from ml_backend.evaluate_command import add_arguments as add_evaluate_arguments
from ml_backend.face_commands import add_arguments as add_face_arguments
from ml_backend.refiner_command import add_arguments as add_refiner_arguments
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
    talk_command.add_arguments(commands)
    _add_track(commands.add_parser("track", help="measure a face in a clip: a track, and the mesh over the clip"))
    _add_train(commands.add_parser("train", help="train the general weights"))
    _add_prepare(commands.add_parser("prepare", help="make training shards from folders of clips"))
    add_face_arguments(commands.add_parser("face", help="face models, random people, contact sheets"))
    add_evaluate_arguments(commands.add_parser("evaluate", help="score motion and films against clips with truth"))
    add_refiner_arguments(commands.add_parser("refiner", help="refine frames, export a refiner, look into it"))
    commands.add_parser("doctor", help="what is installed, what is missing, and how to get it")
    return top


def _add_track(track: argparse.ArgumentParser) -> None:
    track.add_argument("clip", type=Path, metavar="CLIP", help="clip or photo of the person")
    track.add_argument("--out", type=Path, required=True, metavar="NPZ", help="the track")
    track.add_argument("--preview", type=Path, metavar="FILE", help="the fitted mesh over the clip: .png or .mp4")
    talk_command.add_face(track)
    track.add_argument("--target-seconds", type=float, metavar="S", help="how much, from the start (default: all)")
    track.add_argument("--face-model", default="parley", metavar="NAME", help="see `parley face list`")
    track.add_argument("--overwrite", action="store_true", help="replace a track and a preview made by this command")


def _add_train(train: argparse.ArgumentParser) -> None:
    train.add_argument("what", choices=("motion", "phones", "pose", "contact", "refiner", "identity"),
                       help="lips from speech; first what phones sound like; head motion; lips that meet on p, b, m; "
                       "renders into people; whose face it is")
    train.add_argument("dataset", type=Path, help="folder of shards made by `parley prepare`; for identity, of clips")
    train.add_argument("--out", type=Path, required=True, help="folder for the weights and the curve")
    train.add_argument("--config", default="default", choices=("default", "streaming", "yi2020"))
    train.add_argument("--steps", type=int, help="at most (default: 200 for motion, 4000 for contact, else 600)")
    train.add_argument("--members", type=int, metavar="N", help="networks side by side (default: the configuration's)")
    train.add_argument("--pretrained", type=Path, metavar="FILE", help="what `parley train phones` made")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--speech", type=Path, nargs="+", default=[], metavar="FOLDER", help="more voices for contact")
    train.add_argument("--rights", default="", metavar="WORD", help="learn only from shards with these rights (open)")
    train.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="several GPUs: see `torchrun`")
    train.add_argument("--amp", action=argparse.BooleanOptionalAction, help="half precision (default: on a GPU)")
    train.add_argument("--minutes", type=float, default=1e6, metavar="M", help="of the refiner at most")
    train.add_argument("--without", nargs="+", default=[], metavar="NAME", help="clips the refiner doesn't learn from")
    train.add_argument("--people", type=Path, metavar="CSV",
                       help="file, person, split (train or test) of the clips for identity (default: people.csv there)")
    train.add_argument("--fresh", action="store_true", help="start over instead of resuming")


def _add_prepare(prepare: argparse.ArgumentParser) -> None:
    prepare.add_argument("folders", type=Path, nargs="*", metavar="FOLDER", help="folders of clips with sound")
    prepare.add_argument("--out", type=Path, required=True, metavar="DATASET", help="folder of shards to write")
    prepare.add_argument("--workers", type=int, default=0, metavar="N", help="processes (default: one per core)")
    prepare.add_argument(
        "--layout",
        default="auto",
        choices=("auto", "plain", "lrw", "grid", "voxceleb", "facegood", "livelink"),
        help="how the folders name their clips (default: look)",
    )
    prepare.add_argument(
        "--rights", default="unclear", metavar="WORD", help="what the model card says: open, or unclear (default)"
    )
    prepare.add_argument(
        "--speech", type=Path, nargs="+", default=[], metavar="FOLDER", help="speech without faces, for its phones"
    )
    prepare.add_argument("--text", type=Path, metavar="FILE", help="English sentences for flite to speak")
    prepare.add_argument("--phones", action="store_true", help="also the phones of the training clips' sound")
    prepare.add_argument("--faces", action="store_true", help="face shards for the refiner instead of motion shards")
    prepare.add_argument("--retry", action="store_true", help="look again at clips that were rejected before")


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
    # One place says where the pack lies, for landmarks and for identity.
    if getattr(options, "insightface_root", None) is not None:
        os.environ[insightface_pack.ROOT] = str(options.insightface_root.absolute())
    # Imported late: `parley --help` must not wait for torch.
    if options.command in talk_command.COMMANDS:
        talk_command.run(options, terminal)
    elif options.command == "train":
        _train(options, terminal)
    elif options.command == "track":
        from ml_backend import track_command

        track_command.run(options, terminal)
    elif options.command == "face":
        from ml_backend.face_commands import run

        run(options, terminal)
    elif options.command == "refiner":
        from ml_backend import refiner_command

        refiner_command.run(options, terminal)
    elif options.command == "evaluate":
        from ml_backend import evaluate_command

        evaluate_command.run(options, terminal)
    elif options.command == "prepare":
        _prepare(options, terminal)
    else:
        from ml_backend.doctor import report

        sys.stdout.write(report() + "\n")


def _prepare(options: argparse.Namespace, terminal: Terminal) -> None:
    if options.faces:
        from ml_backend.refiner_training import prepare_faces

        prepare_faces(options, terminal)
        return
    from ml_backend.training import prepare

    prepare(options, terminal)


def _train(options: argparse.Namespace, terminal: Terminal) -> None:
    if options.what == "refiner":
        from ml_backend.refiner_training import train_refiner

        train_refiner(options, terminal)
        return
    from ml_backend.training import train_motion

    train_motion(options, terminal)


if __name__ == "__main__":
    sys.exit(main())
