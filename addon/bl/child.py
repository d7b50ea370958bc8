"""The child process that renders and saves scenes.

    python addon/bl/child.py job.json                                            where the bpy module is installed
    blender -b --factory-startup --python addon/bl/child.py -- job.json          with a Blender
    … --serve FOLDER                           does the jobs whose paths arrive on standard input, a line each

Its messages go to standard output, a JSON object a line (see `core.protocol`), Blender's own words to standard error.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

SERVE = "--serve"


def main() -> int:
    """Run the job named last on the command line, or those that arrive; returns the exit code."""
    package = Path(__file__).resolve().parents[1]
    here = str(package / "bl")
    sys.path[:] = [str(package.parent), *(entry for entry in sys.path if os.path.abspath(entry or ".") != here)]
    # The package's own name: an installed extension's folder is called otherwise than the source tree's.
    session = importlib.import_module(f"{package.name}.bl.session")
    if SERVE in sys.argv:
        return session.serve(iter(sys.stdin.readline, ""))
    return session.run(Path(sys.argv[-1]))


if __name__ == "__main__":
    sys.exit(main())
