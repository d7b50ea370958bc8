"""*Set Up Backend*, *Check* and what belongs to them."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false, reportInvalidTypeForm=false

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import bpy

from ...bl import compat, worker
from ...core import backend_setup, manual, probe
from ...core.backend_setup import Plan, SetupRun, masked
from ...core.errors import ParleyError, UserInputError
from ...core.jobs import Job
from ...core.probe import Probe
from ...ui.operator_base import ParleyOperator

CHECK_TITLE = "Check"
NAME_WIDTH = 18
"""Where the values stand in the lines of the report."""


@dataclass
class _State:
    run: SetupRun | None = None
    report: str = ""
    probe: Probe | None = None


_state = _State()


def setup_run() -> SetupRun | None:
    """The set-up under way, or the last one."""
    return _state.run


def report() -> str:
    """What *Check* found, without private paths; "" before it was pressed."""
    if not _state.report:
        return ""
    probe = _state.probe
    drawn = "was not tested" if probe is None else "is being tested…" if probe.running else probe.text
    return masked(f"{_state.report}\n  {'EEVEE':<16}{drawn}")


def forget() -> None:
    """Stop a set-up and forget what was found, for the add-on's end."""
    if _state.run is not None:
        _state.run.cancel()
    if _state.probe is not None:
        _state.probe.cancel()
    _state.run, _state.report, _state.probe = None, "", None


def source(context: bpy.types.Context) -> Path:
    """Where Parley's backend is installed from; raises `UserInputError` if there is nothing."""
    settings = worker.preferences()
    if settings is not None and settings.source:
        path = Path(bpy.path.abspath(settings.source))
        if not path.exists():
            raise UserInputError(f"There is no {path}; choose a folder or a wheel of Parley.")
        return path
    package = Path(__file__).resolve().parents[2]
    wheels = sorted((package / "assets").glob("parley-*.whl"))
    if wheels:
        return wheels[-1]
    if (package.parent / "pyproject.toml").is_file() and (package.parent / "ml_backend").is_dir():
        return package.parent
    raise UserInputError("The backend does not come with this add-on; choose its folder or wheel as Parley.")


def commands(context: bpy.types.Context) -> str:
    """The exact commands of the set-up, "" where they can't be told yet."""
    if _state.run is not None and _state.run.running:
        return _state.run.plan.text
    try:
        return _plan(context).text
    except ParleyError:
        return ""


def _plan(context: bpy.types.Context) -> Plan:
    settings = worker.preferences()
    named = bpy.path.abspath(settings.base_python) if settings is not None and settings.base_python else ""
    interpreter = worker.managed_interpreter()
    base = _base(named)
    if isinstance(base, ParleyError):
        raise base
    return backend_setup.plan(base, interpreter.parents[1], interpreter, source(context),
                              settings.device if settings is not None else "cpu")


@lru_cache(maxsize=8)
def _base(named: str) -> str | ParleyError:
    """Cached, a failure as well: a panel asks for it whenever it is drawn, and every look starts a process."""
    try:
        return backend_setup.base_python(named)
    except ParleyError as error:
        return error


class PARLEY_OT_set_up_backend(ParleyOperator, bpy.types.Operator):
    """Make a virtual environment and install the backend's packages, by the commands shown; needs the network"""

    bl_idname = "parley.set_up_backend"
    bl_label = "Set Up Backend"

    @classmethod
    def disabled_reason(cls, context: bpy.types.Context) -> str | None:
        """Already running, no network wanted, nothing to install."""
        if _state.run is not None and _state.run.running:
            return "The set-up is running."
        if worker.busy_reason():
            return worker.busy_reason()
        try:
            _plan(context)
        except ParleyError as error:
            return str(error)
        return None if bpy.app.online_access else "Online access is off; allow it in Preferences › System › Network."

    def perform(self, context: bpy.types.Context) -> str:
        """Start it; the preferences show how far it is."""
        _base.cache_clear()
        wanted = _plan(context)
        worker.let_go()  # a warm worker would keep files of the old environment open
        _state.run = SetupRun(wanted, worker.managed_interpreter().parents[1])
        worker.watch(_state.run.tick)
        return f"Setting up the backend from {', '.join(backend_setup.ADDRESSES)}."


class PARLEY_OT_cancel_setup(ParleyOperator, bpy.types.Operator):
    """Stop setting up the backend"""

    bl_idname = "parley.cancel_setup"
    bl_label = "Cancel"

    @classmethod
    def disabled_reason(cls, context: bpy.types.Context) -> str | None:
        """Nothing runs."""
        return None if _state.run is not None and _state.run.running else "Nothing is running."

    def perform(self, context: bpy.types.Context) -> str:
        """Stop its program."""
        if _state.run is not None:
            _state.run.cancel()
        return "Stopping the set-up."


class PARLEY_OT_check_backend(ParleyOperator, bpy.types.Operator):
    """Look what is installed, what is missing, and whether EEVEE draws without a window"""

    bl_idname = "parley.check_backend"
    bl_label = "Check"
    wait: bpy.props.BoolProperty(
        name="Wait", options={"SKIP_SAVE"}, description="Return when the report is there; for scripts")
    probe: bpy.props.BoolProperty(
        name="Test EEVEE", default=True, options={"SKIP_SAVE"},
        description="Also have a Blender without a window draw a test picture, which takes some seconds")

    @classmethod
    def disabled_reason(cls, context: bpy.types.Context) -> str | None:
        """Another job."""
        return worker.busy_reason()

    def perform(self, context: bpy.types.Context) -> str:
        """Start the worker's doctor, where there is a backend, and the test picture."""
        if _state.probe is not None:
            _state.probe.cancel()
        _state.probe = Probe(probe.program(bpy.app.binary_path), compat.engine("eevee")) if self.probe else None
        if _state.probe is not None:
            worker.watch(_state.probe.tick)
        missing = worker.missing_backend()
        if missing is None:
            worker.start("doctor", {}, CHECK_TITLE, _keep_report)
        else:
            _keep_report(Job(result={"report": missing}))
        if self.wait or bpy.app.background:
            worker.wait()
            if _state.probe is not None:
                _state.probe.wait()
            if worker.outcome().error and missing is None:
                raise UserInputError(worker.outcome().error)
        return "Checking."


def _keep_report(job: Job) -> str:
    machine = f"{platform.system()} {platform.machine()}"
    facts = {"graphics": graphics(), "render engine": compat.engine("eevee"), "interpreter": worker.interpreter(),
             "log": worker.log_path()}
    lines = [f"Blender {bpy.app.version_string}, Python {platform.python_version()}, {machine}",
             *(f"  {name:<16}{value}" for name, value in facts.items()), str((job.result or {}).get("report", ""))]
    _state.report = "\n".join(lines)
    return "The backend answers; its report is below."


def graphics() -> str:
    """The driver that Blender draws with."""
    if bpy.app.background:
        return "none (Blender runs in the background)"
    import gpu

    platform_ = gpu.platform
    return f"{platform_.vendor_get()} {platform_.renderer_get()} {platform_.version_get()}"


class PARLEY_OT_open_manual(ParleyOperator, bpy.types.Operator):
    """Show the manual, with pictures, in the browser; it lies on this computer"""

    bl_idname = "parley.open_manual"
    bl_label = "Manual"

    def perform(self, context: bpy.types.Context) -> str:
        """Make a page of it and leave the rest to the system."""
        path = manual_page()
        bpy.ops.wm.url_open(url=path.as_uri())
        return f"The manual: {path}"


def manual_page() -> Path:
    """The manual as a page; raises `UserInputError` if it can't be written."""
    source = Path(__file__).resolve().parents[2] / "help.md"
    target = worker.data_folder() / "manual.html"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(manual.page(source.read_text(encoding="utf-8"), source.parent), encoding="utf-8")
    except OSError as error:
        raise UserInputError(f"The manual can't be shown ({error}); read {source} instead.") from error
    return target


class PARLEY_OT_hide_hint(ParleyOperator, bpy.types.Operator):
    """Don't show this again"""

    bl_idname = "parley.hide_hint"
    bl_label = "Got It"

    def perform(self, context: bpy.types.Context) -> str:
        """Remember it on this computer."""
        kept = worker.preferences()
        if kept is not None:
            kept.hint = False
            context.preferences.is_dirty = True
        return "The hint stays away; the manual is under the question mark."


class PARLEY_OT_copy_report(ParleyOperator, bpy.types.Operator):
    """Put the report on the clipboard, without private paths, to send it to somebody who can help"""

    bl_idname = "parley.copy_report"
    bl_label = "Copy Report"

    @classmethod
    def disabled_reason(cls, context: bpy.types.Context) -> str | None:
        """Nothing to copy."""
        return None if _state.report else "There is no report yet; press Check."

    def perform(self, context: bpy.types.Context) -> str:
        """To the clipboard."""
        context.window_manager.clipboard = report()
        return "The report is on the clipboard."
