"""What the children that run in Blender have in common."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from addon.bl.session import Channel
from addon.core import protocol


def serve(work: Callable[[dict, Channel], dict]) -> int:
    """Do `work` with the job named last on the command line and send what it found; returns the exit code."""
    channel = Channel()
    try:
        found = work(json.loads(Path(sys.argv[-1]).read_text(encoding="utf-8")), channel)
    except Exception as error:
        # The process's edge: the log has the story, the parent gets a sentence.
        traceback.print_exc()
        channel.send(protocol.error(type(error).__name__, str(error)))
        return 1
    channel.send(protocol.result(**found))
    return 0
