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
from ...core import backend_setup
from ...core.backend_setup import Plan, SetupRun, masked
from ...core.errors import ParleyError, UserInputError
from ...core.jobs import Job
from ...ui.operator_base import ParleyOperator

CHECK_TITLE = "Check"


@dataclass
class _State:
    run: SetupRun | None = None
    report: str = ""


_state = _State()


def setup_run() -> SetupRun | None:
    """The set-up under way, or the last one."""
    return _state.run


def report() -> str:
    """What *Check* found, without private paths."""
    return _state.report


def forget() -> None:
    """Stop a set-up and forget what was found, for the add-on's end."""
    if _state.run is not None:
        _state.run.cancel()
    _state.run, _state.report = None, ""


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
        if worker.runner().busy:
            return f"{worker.runner().job.title} is running; wait for it or cancel it."
        if not bpy.app.online_access:
            return "Online access is off; allow it in Preferences › System › Network."
        try:
            source(context)
        except ParleyError as error:
            return str(error)
        return None

    def perform(self, context: bpy.types.Context) -> str:
        """Start it; the preferences show how far it is."""
        _base.cache_clear()
        wanted = _plan(context)
        worker.runner().close()  # a warm worker would keep files of the old environment open
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
    """Ask the backend what is installed and what is missing"""

    bl_idname = "parley.check_backend"
    bl_label = "Check"
    wait: bpy.props.BoolProperty(
        name="Wait", options={"SKIP_SAVE"}, description="Return when the report is there; for scripts")

    @classmethod
    def disabled_reason(cls, context: bpy.types.Context) -> str | None:
        """No backend, or another job."""
        return worker.disabled_reason()

    def perform(self, context: bpy.types.Context) -> str:
        """Start the worker's doctor."""
        worker.start("doctor", {}, CHECK_TITLE, _keep_report)
        if self.wait or bpy.app.background:
            worker.wait()
            if worker.outcome().error:
                raise UserInputError(worker.outcome().error)
        return "Checking the backend."


def _keep_report(job: Job) -> str:
    machine = f"{platform.system()} {platform.machine()}"
    facts = {"graphics": graphics(), "render engine": compat.engine("eevee"), "interpreter": worker.interpreter(),
             "log": worker.runner().log}
    lines = [f"Blender {bpy.app.version_string}, Python {platform.python_version()}, {machine}",
             *(f"  {name:<16}{value}" for name, value in facts.items()), str((job.result or {}).get("report", ""))]
    _state.report = masked("\n".join(lines))
    return "The backend answers; its report is below."


def graphics() -> str:
    """The driver that Blender draws with."""
    if bpy.app.background:
        return "none (Blender runs in the background)"
    import gpu

    platform_ = gpu.platform
    return f"{platform_.vendor_get()} {platform_.renderer_get()} {platform_.version_get()}"


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
        context.window_manager.clipboard = _state.report
        return "The report is on the clipboard."
