"""The beginning of a model card: what a training knows about itself; what only its maker knows is left open."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ml_backend.audio.features import FPS
from ml_backend.data.frames import write_whole
from ml_backend.motion.network import build, parameter_count
from ml_backend.motion.score import LipScore
from ml_backend.motion.shards import Shard

if TYPE_CHECKING:
    from ml_backend.motion.train import Plan


def write_card(plan: Plan, best: dict[str, float], seconds: float, scores: list[LipScore], path: Path) -> None:
    """Write the card of a training as Markdown.

    Parameters
    ----------
    plan : what was trained on what
    best : the row of the curve whose weights were kept
    seconds : how long it took
    scores : of the last look at the validation clips
    path : the file
    """
    write_whole(path, "\n".join([*_network(plan), *_data(plan), *_validation(plan, best, scores),
                                 *_origin(plan, best, seconds)]).encode())


def _network(plan: Plan) -> list[str]:
    config = plan.config
    millions = parameter_count(build(config)) / 1e6
    sides = "bidirectional" if config.bidirectional else "unidirectional (streams)"
    recurrent = f"LSTM {config.layers} × {config.hidden}, {sides}"
    return ["# Motion weights", "",
            f"Speech → {config.expressions} expressions and head motion at {FPS} fps. Config `{config.name}`: "
            f"{config.members} network(s), encoder `{config.encoder}`, {recurrent}; {millions:.1f} M parameters.", ""]


def _data(plan: Plan) -> list[str]:
    groups: dict[tuple[str, str], list[Shard]] = {}
    for shard in plan.training.values():
        groups.setdefault((str(shard.source) or "not stated", str(shard.rights)), []).append(shard)
    lines = ["## Learned from", "", "| source | rights | speakers | clips | minutes |",
             "| --- | --- | --- | --- | --- |"]
    for (source, rights), shards in sorted(groups.items()):
        speakers = len({str(shard.speaker) for shard in shards})
        minutes = sum(len(shard) for shard in shards) / FPS / 60
        lines.append(f"| {source} | {rights} | {speakers} | {len(shards)} | {minutes:.1f} |")
    return [*lines, "", "TO STATE: licences and attributions, what was left out and why.", ""]


def _validation(plan: Plan, best: dict[str, float], scores: list[LipScore]) -> list[str]:
    rows = [f"| {item.name} | {item.opening:.2f} | {item.width:.2f} |" for item in scores]
    return ["## Validation", "",
            f"Pearson's r at {FPS} fps of inner-lip opening and mouth width, plain network output. The weights are "
            f"those of step {best['step']}: opening {best['opening']:.2f}, width {best['width']:.2f}; the same "
            f"{len(plan.validation)} clips chose the step and set the channels' gain, so this is no blind test. "
            "The table is of the last look.", "",
            "| clip | opening | width |", "| --- | --- | --- |", *rows, ""]


def _origin(plan: Plan, best: dict[str, float], seconds: float) -> list[str]:
    rights = f" --rights {plan.rights}" if plan.rights else ""
    rights += f" --members {plan.config.members} --pretrained {plan.pretrained.name}" if plan.pretrained else ""
    return ["## Limits", "", "TO STATE: what was not tried, who is not represented, what fails.", "", "## Command", "",
            "```sh", f"parley train motion DATASET --out OUT --config {plan.config.name} --steps {plan.steps} "
            f"--seed {plan.seed}{rights}", "```", "",
            f"Seed {plan.seed}, {best['step']} of {plan.steps} steps, {seconds:.0f} s.", ""]
