"""`parley refiner`: apply weights to frames, export them as ONNX, and ask what memory and identity are worth."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ml_backend.errors import UserInputError
from ml_backend.terminal import Terminal

if TYPE_CHECKING:
    from ml_backend.refine.train import RefineReport

COMPILE = "let torch.compile make the network faster: a minute at first, and it needs a C++ compiler"
HOW = """How to run the file, in Python with NumPy and onnxruntime (or any program that runs ONNX):

  network = onnxruntime.InferenceSession("model.onnx")
  # frames: (T, S, S, 3) uint8 RGB composites; a window is the frames t-2, t-1 and t, the first frame repeats
  window = np.concatenate([frames[max(t - k, 0)] for k in (2, 1, 0)], 2).transpose(2, 0, 1)[None]
  refined, attention = network.run(None, {"window": window.astype(np.float32) / 255})
  picture = (refined[0].transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8)

With --identity-input the network also takes "identity", (B, 512) float32, L2-normalised."""


def add_arguments(refiner: argparse.ArgumentParser) -> None:
    """Give the command `refiner` its subcommands."""
    actions = refiner.add_subparsers(dest="action", required=True, metavar="ACTION")
    use = actions.add_parser("apply", help="refine a folder of rendered frames")
    use.add_argument("frames", type=Path, metavar="FRAMES", help="folder of composites, or a take of `parley talk`")
    use.add_argument("--weights", type=Path, metavar="FILE", help="refiner weights (default: the take's)")
    use.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the refined frames")
    use.add_argument("--strength", type=float, default=1.0, metavar="0..1", help="how much of it (default: 1, all)")
    use.add_argument("--preview", type=Path, metavar="PNG", help="also draw before and after as one picture")
    use.add_argument("--batch", type=int, metavar="N", help="frames at a time (default: what suits the machine)")
    use.add_argument("--compile", action="store_true", help=COMPILE)
    export = actions.add_parser("export", help="write a refiner as ONNX, to run without torch", epilog=HOW,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    export.add_argument("weights", type=Path, metavar="WEIGHTS", help="refiner weights (.safetensors)")
    export.add_argument("--out", type=Path, required=True, metavar="ONNX", help="the file to write")
    export.add_argument("--identity-input", action="store_true", help="identity as an input (default: baked in)")
    memory = actions.add_parser("memory", help="how often the memory finds the right person")
    memory.add_argument("shards", type=Path, metavar="SHARDS", help="folder of face shards (`parley prepare --faces`)")
    memory.add_argument("--people", type=Path, metavar="CSV",
                        help="file,person: who is seen in several clips (default: each clip is a person)")
    memory.add_argument("--epochs", type=int, default=3, help="rounds of training (default: 3)")
    memory.add_argument("--frames", type=int, default=40, metavar="N", help="of each clip at most (default: 40)")
    ablate = actions.add_parser("ablate", help="without identity and memory against with them, on one clip")
    ablate.add_argument("clip", type=Path, metavar="CLIP", help="face shard (.npz) or take in which it was fitted")
    ablate.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the weights of each variant")
    ablate.add_argument("--minutes", type=float, default=4.0, help="of each variant's training (default: 4)")
    ablate.add_argument("--steps", type=int, metavar="N",
                        help="of each variant's training at most: equal chances on a busy machine")
    ablate.add_argument("--general", type=Path, metavar="FILE",
                        help="general weights: the same two from these, and these alone")
    for command in (memory, ablate):
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--identity", choices=("auto", "arcface", "embedded"), default="auto",
                             help="encoder of the identity (default: ArcFace where a pack is installed)")


def run(options: argparse.Namespace, terminal: Terminal) -> None:
    """Do the chosen action; raises `ParleyError`."""
    {"apply": apply_weights, "export": export, "memory": memory, "ablate": ablate}[options.action](options, terminal)


def apply_weights(options: argparse.Namespace, terminal: Terminal) -> None:
    """Refine the frames, and draw the preview where one is wanted."""
    from ml_backend.data.frames import FrameFolder, write_index
    from ml_backend.refine.apply import apply
    from ml_backend.refine.preview import draw_preview

    folder, weights = composites_of(options.frames, options.weights)
    if folder.resolve() == options.out.resolve():
        raise UserInputError(f"{options.out} holds the frames to refine; give another folder for the refined ones.")
    frames = FrameFolder.open(folder)
    with terminal.stage("Refining") as progress:
        report = apply(frames, weights, options.out, progress=progress, strength=options.strength,
                       batch=options.batch, compiled=options.compile, say=terminal.warn)
    write_index(options.out, complete=True, count=report.frames, fps=frames.fps, notes=list(report.notes))
    if report.pass_through:
        terminal.warn("These weights, or a strength of 0, leave the frames as they are.")
    terminal.say(f"{report.frames} frames in {options.out}, {report.made} of them made now.")
    if options.preview is not None:
        draw_preview(frames, FrameFolder.open(options.out), options.preview)
        terminal.say(f"Before and after: {options.preview}.")


def composites_of(frames: Path, weights: Path | None) -> tuple[Path, Path]:
    """The folder of composites and the weights that a command means by `frames`, a folder of them or a take.

    Raises
    ------
    UserInputError
        If one of them isn't there.
    """
    folder = frames / "composites" if (frames / "composites").is_dir() else frames
    weights = weights or frames / "refiner.safetensors"
    if not folder.is_dir():
        raise UserInputError(f"{folder} is no folder; give one of rendered frames, or a take of `parley talk`.")
    if not weights.is_file():
        raise UserInputError(f"{weights} does not exist; --weights wants what `parley talk` or `parley train refiner` "
                             "made.")
    return folder, weights


def export(options: argparse.Namespace, terminal: Terminal) -> None:
    """Write the ONNX file."""
    from ml_backend.refine.onnx_export import export as write

    report = write(options.weights, options.out, identity_input=options.identity_input)
    kind = "with its identity" if report.baked else "with the identity as an input"
    terminal.say(f"{report.path}: {report.side}x{report.side} pictures, {kind}, {report.size / 1e6:.1f} MB; differs "
                 f"from torch by {report.difference:.1g} at most.")


def memory(options: argparse.Namespace, terminal: Terminal) -> None:
    """Train a memory on the shards' composites and print how often it finds the right person."""
    from ml_backend.background.composite import composite
    from ml_backend.refine import retrieval, shards
    from ml_backend.refine.config import RefinerConfig
    from ml_backend.refine.identity import identity_encoder, spatial_trunk
    from ml_backend.refine.people import read_people

    if options.epochs < 1 or options.frames < 5:
        raise UserInputError(f"--epochs {options.epochs} of {options.frames} frames trains nothing; give 1 or more "
                             "epochs of 5 or more frames.")
    people = read_people(options.people) if options.people else {}
    with terminal.stage("Features of faces and composites") as progress:
        questions = retrieval.gather(shards.find(options.shards), composite, identity_encoder(options.identity),
                                     spatial_trunk()[1], people=people, most=options.frames, progress=progress)
    found = retrieval.measure(questions, RefinerConfig(), epochs=options.epochs, seed=options.seed)
    lines = [f"{name}: {share:.0%}\n" for name, share in sorted(found.unseen.items(), key=lambda entry: entry[1])]
    sys.stdout.write(f"{found.after:.1%} of {found.asked} composites that the memory was not trained on bring back the "
                     f"right one of {found.people} people in {found.clips} clips ({found.before:.1%} before "
                     f"its layer was trained, {found.smoothed:.1%} smoothed over time); {found.slots} slots in use.\n"
                     + "".join(lines))


def ablate(options: argparse.Namespace, terminal: Terminal) -> None:
    """Fine-tune the variants and print their figures on the clip's held-out end."""
    from ml_backend.background.composite import composite
    from ml_backend.refine import ablation, shards

    if not (math.isfinite(options.minutes) and options.minutes > 0):
        raise UserInputError(f"--minutes {options.minutes:g} is no time; give more than 0.")
    if options.steps is not None and options.steps < 1:
        raise UserInputError(f"--steps {options.steps} trains nothing; give 1 or more.")
    clip = ablation.pairs_of_take(options.clip) if options.clip.is_dir() else \
        ablation.pairs(shards.load(options.clip), composite)
    options.out.mkdir(parents=True, exist_ok=True)
    reports = []
    for number, row in enumerate(ablation.variants(options.general, options.identity)):
        with terminal.stage(f"Fitting {row.name}") as progress:
            reports.append((row.name, ablation.fit(clip, row, options.out / f"variant_{number}.safetensors",
                                                   minutes=options.minutes, steps=options.steps, seed=options.seed,
                                                   progress=progress)))
    sys.stdout.write(table(reports) + "\n")


def table(reports: list[tuple[str, RefineReport]]) -> str:
    """The variants' figures as a Markdown table, the raw composites first."""
    figures: list[tuple[str, dict]] = [("rendered", {"steps": 0, **reports[0][1].before})]
    figures += [(name, {"steps": report.steps, **report.after}) for name, report in reports]
    names = list(figures[0][1])
    rows = [" | ".join([name, *("" if values.get(key) is None else f"{values[key]:.4g}" for key in names)])
            for name, values in figures]
    return "\n".join(f"| {row} |" for row in [" | ".join(["variant", *names]), " | ".join(["---"] * (len(names) + 1)),
                                              *rows])
