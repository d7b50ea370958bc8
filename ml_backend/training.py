"""`parley prepare` and `parley train`: from folders of clips to general weights."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

from rich.table import Table

from ml_backend.config import head_model
from ml_backend.errors import UserInputError
from ml_backend.face_model.model import load
from ml_backend.motion.contact_train import train_contact
from ml_backend.motion.network import CONFIGS, MotionConfig
from ml_backend.motion.phone_shards import FOLDER
from ml_backend.motion.pose_train import train_pose
from ml_backend.motion.pretrain import pretrain
from ml_backend.motion.train import train
from ml_backend.prepare import voices
from ml_backend.prepare.clip import READY, Outcome
from ml_backend.prepare.run import REJECTIONS, TABLE, find_all, prepare_all, reasons
from ml_backend.terminal import Terminal

_MOST_REASONS = 12
_MOTION_STEPS = {"default": 200, "streaming": 200, "yi2020": 4000}
_PHONE_STEPS, _POSE_STEPS = 600, 600


def prepare(options: argparse.Namespace, terminal: Terminal) -> None:
    """Make what the command asks for: shards of clips, and phone shards of speech; resumes.

    Raises
    ------
    UserInputError
        If a folder is missing, holds no clip, or none that can be used.
    """
    if options.workers < 0:
        raise UserInputError(f"--workers is {options.workers}; give 1 or more, or leave it out for one per core.")
    if options.folders:
        prepare_clips(options, terminal)
    if options.speech or options.text or options.phones:
        prepare_voices(options, terminal)
    elif not options.folders:
        raise UserInputError("There is nothing to prepare; give folders of clips, --speech or --text.")


def prepare_voices(options: argparse.Namespace, terminal: Terminal) -> None:
    """Make phone shards of recordings, of sentences that flite speaks, and of the clips of the data set.

    Raises
    ------
    UserInputError
        If there is nothing to be heard or spoken.
    """
    recordings = voices.find_recordings(options.speech, rights=options.rights)
    if options.text:
        recordings += voices.synthetic(voices.written_sentences(options.text))
    if options.phones:
        recordings += voices.clip_recordings(options.out)
    with terminal.stage(f"Hearing phones of {len(recordings)} recordings") as progress:
        ready, refused = voices.label_all(recordings, options.out, progress=progress)
    for reason in refused[:_MOST_REASONS]:
        terminal.warn(reason)
    terminal.say(f"{ready} phone shards in {options.out / FOLDER}, {len(refused)} recordings rejected.")


def prepare_clips(options: argparse.Namespace, terminal: Terminal) -> None:
    """Make a shard of each clip in the folders and print what was rejected and why; see `prepare`."""
    sources = find_all(options.folders, layout=options.layout, rights=options.rights)
    with terminal.stage(f"Preparing {len(sources)} clips") as progress:
        rows = prepare_all(sources, options.out, workers=options.workers, retry=options.retry, progress=progress)
    ready = [row for row in rows if row.status == READY]
    if len(ready) < len(rows):
        show_reasons(rows, terminal)
    minutes, speakers = sum(row.seconds for row in ready) / 60, len({row.speaker for row in ready})
    terminal.say(f"{len(ready)} shards ({minutes:.1f} min of {speakers} speakers) in {options.out}, "
                 f"{len(rows) - len(ready)} clips rejected; {TABLE} lists all, {REJECTIONS} the reasons.")


def show_reasons(rows: Sequence[Outcome], terminal: Terminal) -> None:
    """Print how many clips were rejected for which reason."""
    if terminal.quiet:
        return
    table = Table("clips", "why they were rejected")
    counted = reasons(rows)
    for reason, count in counted[:_MOST_REASONS]:
        table.add_row(str(count), reason)
    rest = sum(count for _, count in counted[_MOST_REASONS:])
    if rest:
        table.add_row(str(rest), f"other reasons, see {REJECTIONS}")
    terminal.console.print(table)


def train_motion(options: argparse.Namespace, terminal: Terminal) -> None:
    """Train motion weights on a folder of shards, or the phones beforehand, or the head-pose weights."""
    if options.what == "contact":
        train_contacts(options, terminal)
        return
    if options.what == "pose":
        train_head(options, terminal)
        return
    if options.what == "identity":
        train_identity(options, terminal)
        return
    config = _config(options)
    if options.what == "phones":
        train_phones(config, options, terminal)
        return
    with terminal.stage("Training motion") as progress:
        report = train(
            config,
            options.dataset,
            options.out,
            model=load(head_model()),
            seed=options.seed,
            steps=options.steps or _MOTION_STEPS[options.config],
            resume=not options.fresh,
            rights=options.rights,
            pretrained=options.pretrained,
            device=options.device,
            half=options.amp,
            progress=progress,
        )
    if report.seconds:
        terminal.say(
            f"Weights, curve and the beginning of a model card in {options.out}: opening r = {report.opening:.3f}, "
            f"width r = {report.width:.3f} on the validation clips at step {report.step}."
        )


def train_phones(config: MotionConfig, options: argparse.Namespace, terminal: Terminal) -> None:
    """Teach the configuration's encoders phones; the first stage of the default weights."""
    with terminal.stage("Training on phones") as progress:
        report = pretrain(
            config,
            options.dataset,
            options.out,
            seed=options.seed,
            steps=options.steps or _PHONE_STEPS,
            resume=not options.fresh,
            rights=options.rights,
            device=options.device,
            half=options.amp,
            progress=progress,
        )
    terminal.say(
        f"{report.weights}: names the phone of {report.right:.0%} of the varied training frames; give it to "
        "`parley train motion` as --pretrained."
    )


def train_contacts(options: argparse.Namespace, terminal: Terminal) -> None:
    """Train the detector of lip contact on the shards' speech and on folders of sound files."""
    with terminal.stage("Training lip contact") as progress:
        report = train_contact(options.dataset, options.speech, options.out / "contact.safetensors",
                               seed=options.seed, steps=options.steps or 4000, rights=options.rights,
                               progress=progress)
    terminal.say(f"Weights in {options.out}: on held-out recordings {report.recall:.2f} of the labial steps found, "
                 f"{report.precision:.2f} of the found ones labial ({report.recordings} recordings, "
                 f"{report.seconds / 60:.1f} min).")


def train_identity(options: argparse.Namespace, terminal: Terminal) -> None:
    """Train the encoder that tells whose face a picture shows, on clips of people and synthetic heads."""
    from ml_backend.recognise.train import settings_for
    from ml_backend.recognise.train import train as train_encoder

    with terminal.stage("Training the identity encoder") as progress:
        report = train_encoder(options.dataset, options.out, model=load(head_model()), table=options.people,
                               settings=settings_for(options.steps), seed=options.seed, resume=not options.fresh,
                               progress=progress)
    for note in report.notes:
        terminal.warn(note)
    for name, rate in report.rates.items():
        terminal.say(f"Pairs from {name}: equal error rate {rate['eer']:.1%}, {rate['accepted']:.1%} accepted where 1 "
                     f"% of the strangers are ({report.people['test']} people who were not learned).")
    terminal.say(f"Weights in {report.weights}: {report.steps} steps, {report.seconds / 60:.0f} min of processor time.")


def train_head(options: argparse.Namespace, terminal: Terminal) -> None:
    """Train the head-pose network on the head motion of the shards, with sound and without."""
    with terminal.stage("Training head pose") as progress:
        report = train_pose(
            options.dataset,
            options.out,
            seed=options.seed,
            steps=options.steps or _POSE_STEPS,
            resume=not options.fresh,
            rights=options.rights,
            progress=progress,
        )
    terminal.say(
        f"{report.weights}: {report.validation:.2f} nats a step on the validation clips at step {report.step}, "
        f"{report.without_sound:.2f} without their sound, {report.wrong_sound:.2f} with another's; "
        f"{report.seconds:.0f} s."
    )


def _config(options: argparse.Namespace) -> MotionConfig:
    if options.members is not None and not 1 <= options.members <= 16:
        raise UserInputError(f"--members is {options.members}; give 1 to 16.")
    config = CONFIGS[options.config]
    return replace(config, members=options.members) if options.members else config
