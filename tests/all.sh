#!/usr/bin/env bash
# Set-up and all tests, in a Blender of their own where none is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
bash tests/setup.sh
# The add-on's zip is tried in a real Blender too: Debian's, where there is none and root allows it.
command -v blender >/dev/null || timeout 1200 bash tests/blender/root.sh make .cache/blender ||
  echo "The add-on is tested in the bpy modules only." >&2
.venv/bin/python -m pytest "$@"
