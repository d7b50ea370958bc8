"""What all stages of one run share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ml_backend.blender import Blender
from ml_backend.blender_crew import Crew
from ml_backend.data.video import probe
from ml_backend.face_model.model import FaceModel, load
from ml_backend.face_model.store import model_path
from ml_backend.take import Take, file_hash
from ml_backend.talk.options import TalkOptions
from ml_backend.terminal import Terminal

CODE = 6
"""Raise when a stage's outcome changes, so that old takes are made again."""


@dataclass
class Session:
    """One run of `parley talk`.

    Attributes
    ----------
    facts : dict, stage → what it reported, for report.json
    """

    options: TalkOptions
    terminal: Terminal
    take: Take
    found_blender: Blender | None
    model_path: Path
    model: FaceModel
    facts: dict[str, dict] = field(default_factory=dict)
    started_crew: Crew | None = None

    @property
    def crew(self) -> Crew:
        """The Blender processes that render, each started once for the whole run."""
        if self.started_crew is None:
            log = self.take.path("logs/blender.log")
            self.started_crew = Crew(self.blender, self.take.path("jobs"), log, processes=self.options.processes)
        return self.started_crew

    def processes(self) -> dict[str, float]:
        """For the report: Blender processes that rendered, and how often each was started."""
        crew = self.started_crew
        if crew is None or not crew.most:
            return {"used": 0, "starts_each": 0.0}
        return {"used": crew.most, "starts_each": crew.started / crew.most}

    def close(self) -> None:
        """Stop what the session started."""
        if self.started_crew is not None:
            self.started_crew.close()

    @property
    def blender(self) -> Blender:
        """The Blender that renders; only sessions that make pictures have one."""
        assert self.found_blender is not None
        return self.found_blender

    @classmethod
    def start(cls, options: TalkOptions, terminal: Terminal, take: Take, blender: Blender | None) -> Session:
        """Load the face model and begin; without a Blender where nothing is rendered."""
        path = model_path(options.face_model)
        return cls(options, terminal, take, blender, path, load(path))

    def stage(self, name: str, title: str, settings: dict, outputs: list[str], action) -> dict:
        """Run ``action(progress)`` as stage `name` of the take, with its progress shown, unless it is done."""

        def work() -> dict | None:
            with self.terminal.stage(title) as progress:
                return action(progress)

        self.facts[name] = self.take.run(name, {**settings, "code": CODE}, outputs, work)
        return self.facts[name]

    def bt601(self) -> bool:
        """Whether the film's colours are stored by BT.601's matrix: as its clip's are."""
        return self.options.target is not None and probe(self.options.target).bt601

    def model_key(self) -> str:
        """Content hash of the face model."""
        return file_hash(self.model_path)
