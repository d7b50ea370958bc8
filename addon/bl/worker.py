"""The one job of this Blender: on the worker or in a thread, the timer that listens, what happens at its end."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy

from ..core.errors import ParleyError, UserInputError
from ..core.jobs import Job, Runner, State
from ..core.thread_job import ThreadRunner, Work
from ..core.worker_client import worker_command

ROOT = __package__.rpartition(".")[0]
"""The add-on's own name in Blender: "addon" in the source tree, "bl_ext.….parley" where it is installed."""
TURN_SECONDS = 0.1
NO_BACKEND = ("The backend is not set up; open Edit › Preferences › Add-ons › Parley and press Set Up Backend, or name "
              "an interpreter that has it.")
WAIT_SECONDS = 24 * 3600.0
LOG_DAYS = 7
"""Logs of Blenders that ended longer ago are removed."""

log = logging.getLogger("parley")
Finish = Callable[[Job], str]


@dataclass
class Outcome:
    """What the panel says of the last job: `text` in a sentence, `error` instead if it failed, `folder` to open."""

    title: str = ""
    text: str = ""
    error: str = ""
    notes: list[str] = field(default_factory=list)
    folder: str = ""


@dataclass
class _State:
    runner: Runner | None = None
    thread: ThreadRunner | None = None
    finish: Finish | None = None
    outcome: Outcome = field(default_factory=Outcome)
    folder: Path | None = None
    extras: list[Callable[[], bool]] = field(default_factory=list)
    turns: deque[float] = field(default_factory=lambda: deque(maxlen=10000))


_state = _State()


def data_folder() -> Path:
    """Where the managed backend and the log live: the user's data, for an update replaces the extension's folder."""
    if named := os.environ.get("PARLEY_DATA"):
        return Path(named)
    return Path(bpy.utils.user_resource("DATAFILES", path="parley"))


def managed_interpreter() -> Path:
    """The interpreter that *Set Up Backend* makes, there or not."""
    venv = data_folder() / "backend"
    return venv / "Scripts" / "python.exe" if sys.platform == "win32" else venv / "bin" / "python"


def preferences() -> Any | None:
    """The add-on's preferences; None where it runs without being enabled, as in tests."""
    entry = bpy.context.preferences.addons.get(ROOT)
    return entry.preferences if entry is not None else None


def interpreter() -> Path | None:
    """The backend's Python: the preferences', ``PARLEY_PYTHON``, or the managed one; None if there is none."""
    settings = preferences()
    named = (settings.interpreter if settings is not None else "") or os.environ.get("PARLEY_PYTHON", "")
    if named:
        return Path(bpy.path.abspath(named))
    return managed_interpreter() if managed_interpreter().is_file() else None


def missing_backend() -> str | None:
    """Why no job can be started, None if one can."""
    path = interpreter()
    if path is None:
        return NO_BACKEND
    return None if path.is_file() else f"The backend's interpreter is missing: {path}; choose another in Preferences."


def runner() -> Runner | ThreadRunner:
    """What runs the job of this Blender, or ran the last one."""
    return _state.thread or _worker_runner()


def _worker_runner() -> Runner:
    if _state.runner is None:
        # A log of its own for every Blender that runs at the same time.
        logs = data_folder() / "logs"
        _forget_logs(logs)
        _state.runner = Runner(logs / f"worker-{os.getpid()}.log")
    return _state.runner


def log_path() -> Path:
    """Where the worker of this Blender writes."""
    return _worker_runner().log


def let_go() -> None:
    """Have a warm worker end, for what it holds open is going to be replaced."""
    if _state.runner is not None:
        _state.runner.close()


def _forget_logs(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for path in folder.glob("worker-*.log"):
            if time.time() - path.stat().st_mtime > LOG_DAYS * 86400:
                path.unlink()


def outcome() -> Outcome:
    """What became of the last job."""
    return _state.outcome


def turns() -> deque[float]:
    """Seconds that each of the last turns of the timer took."""
    return _state.turns


def busy_reason() -> str | None:
    """Why no job of either kind can be started now, None if one can."""
    return f"{runner().job.title} is running; wait for it or cancel it." if runner().busy else None


def disabled_reason() -> str | None:
    """Why a job can't be started on the worker now, None if it can."""
    return busy_reason() or missing_backend()


def job_folder() -> Path:
    """A new folder for the next job's files, that no other Blender uses; the last one's is removed."""
    forget_folder()
    _state.folder = Path(tempfile.mkdtemp(prefix="parley_", dir=bpy.app.tempdir))
    return _state.folder


def forget_folder() -> None:
    """Remove the last job's files."""
    if _state.folder is not None:
        shutil.rmtree(_state.folder, ignore_errors=True)
        _state.folder = None


def start(command: str, options: dict[str, Any], title: str, finish: Finish, folder: str = "") -> None:
    """Begin a job; `finish` is called at its end in the main thread and returns the sentence for the panel.

    Raises
    ------
    ParleyError
        If another job runs or the worker can't be started.
    """
    reason = disabled_reason()
    if reason is not None:
        raise UserInputError(reason)
    _state.outcome, _state.finish, _state.thread = Outcome(title, folder=folder), finish, None
    _worker_runner().start(worker_command(str(interpreter())), command, options, title)
    watch()


def start_thread(work: Work, title: str, finish: Finish, notes: list[str]) -> None:
    """Begin a job in a thread of this Blender, with `notes` for the panel; else like `start`.

    Raises
    ------
    UserInputError
        If another job runs.
    """
    reason = busy_reason()
    if reason is not None:
        raise UserInputError(reason)
    _state.outcome, _state.finish = Outcome(title), finish
    _state.thread = ThreadRunner()
    _state.thread.start(work, title)
    _state.thread.job.notes += notes
    watch()


def wait() -> None:
    """Turn until the job is over, for scripts and for Blender in the background, where no timer runs."""
    while runner().busy:
        runner().wait(WAIT_SECONDS)
    _end()


def cancel() -> None:
    """Stop the job; the panel says so within a second."""
    runner().cancel()
    redraw()


def stop(reason: str) -> None:
    """Stop the job at once, without a timer's help; the panel then says `reason`."""
    if runner().busy:
        runner().close()
        _state.finish = None
        _state.outcome.error = f"{_state.outcome.title} was stopped: {reason}."


def close() -> None:
    """Stop everything, for the add-on's end."""
    if bpy.app.timers.is_registered(turn):
        bpy.app.timers.unregister(turn)
    for one in (_state.runner, _state.thread):
        if one is not None:
            one.close()
    forget_folder()
    _state.runner = _state.thread = _state.finish = None
    _state.extras.clear()
    _state.outcome = Outcome()


def watch(extra: Callable[[], bool] | None = None) -> None:
    """Have the timer turn; `extra` is turned as well until it returns False."""
    if extra is not None:
        _state.extras.append(extra)
    if not bpy.app.background and not bpy.app.timers.is_registered(turn):
        bpy.app.timers.register(turn, first_interval=TURN_SECONDS)


def turn() -> float | None:
    """One turn of the timer: listen, redraw what changed, end what is over. Returns when to come back."""
    began = time.perf_counter()
    changed = runner().tick()
    if _state.extras:
        changed = True
        _state.extras[:] = [extra for extra in list(_state.extras) if extra()]
    _state.turns.append(time.perf_counter() - began)
    if not runner().busy and _state.finish is not None:
        _end()
        changed = True
    if changed:
        redraw()
    return TURN_SECONDS if runner().busy or _state.extras else None


def _end() -> None:
    """Hand the result to whoever asked for it; the sentence, or the error, goes to the panel."""
    finish, job, said = _state.finish, runner().job, _state.outcome
    _state.finish = None
    if finish is None:
        return
    said.notes = list(job.notes)
    if runner().state is not State.DONE:
        stopped = job.kind == "Cancelled"
        said.error = f"{job.title} was stopped; nothing in the scene was changed." if stopped else job.error
        return
    try:
        said.text = finish(job)
    except (ParleyError, RuntimeError) as error:
        # An operator that was called reports its error as a RuntimeError of several lines.
        said.error = str(error).replace("Error: ", "").strip()
    except Exception as error:
        # The timer's edge: an exception here would stop the timer without a word.
        log.exception("unexpected error at the end of %s", job.title)
        said.error = f"Something unexpected happened: {error}. The console has the details."


def remember(title: str) -> None:
    """Make what a job's end changed one step to undo, called `title`; for ends that call no operator."""
    windows = bpy.context.window_manager.windows
    if not bpy.app.background and len(windows):
        with bpy.context.temp_override(window=windows[0]):
            bpy.ops.ed.undo_push(message=title)


def redraw() -> None:
    """Draw the panels and the preferences anew."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in ("VIEW_3D", "PREFERENCES"):
                area.tag_redraw()
