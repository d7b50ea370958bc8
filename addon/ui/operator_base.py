"""How operators fail: an expected error is reported in its own words, an unexpected one goes to the log as well."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..core.errors import ParleyError

if TYPE_CHECKING:
    import bpy

log = logging.getLogger("parley")


class ParleyOperator:
    """Mix-in before ``bpy.types.Operator``: implement `perform` instead of ``execute``."""

    @classmethod
    def disabled_reason(cls, context: bpy.types.Context) -> str | None:
        """Why the button is grey, in one sentence; None where it can be pressed."""
        return None

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Called by Blender; the reason becomes the button's tooltip."""
        reason = cls.disabled_reason(context)
        if reason is not None:
            cls.poll_message_set(reason)  # type: ignore[attr-defined]
        return reason is None

    def perform(self, context: bpy.types.Context) -> str:
        """Do the work and return one sentence for the user; raise `ParleyError` to cancel with its message."""
        raise TypeError(f"{type(self).__name__} lacks perform()")

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Called by Blender."""
        try:
            text = self.perform(context)
        except ParleyError as error:
            self.report({"ERROR"}, str(error))  # type: ignore[attr-defined]
            return {"CANCELLED"}
        except Exception as error:
            # The add-on's edge: Blender would show a traceback, the user gets a sentence.
            log.exception("unexpected error in %s", type(self).__name__)
            self.report({"ERROR"}, f"Something unexpected happened: {error}. The console has the details.")  # type: ignore[attr-defined]
            return {"CANCELLED"}
        self.report({"INFO"}, text)  # type: ignore[attr-defined]
        return {"FINISHED"}
