#!/usr/bin/env bash
# System libraries, a virtual environment in .venv and Parley with everything in it. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."
bash tests/system_packages.sh
python=$(command -v python3.11 || command -v python3)
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install -q --upgrade pip
# torch alone first: a pinned, plain requirement takes a CPU build that lies on the machine instead of the CUDA packages.
.venv/bin/python -m pip install -q "torch==2.13.0"
.venv/bin/python -m pip install -q -e ".[all]"
# Scenes are saved by Blender 4.5, so that they open in 4.2 and newer (files of Blender 5 don't); it renders three times
# slower than 5.0, so that one stays the renderer. A folder of its own keeps the two modules apart.
scenes=.venv/share/parley/bpy-4.5
[ -d "$scenes/bpy" ] || .venv/bin/python -m pip install -q --no-deps --target "$scenes" "bpy==4.5.15" ||
  echo "Without bpy 4.5.15, saved scenes open in Blender 4.5 or newer only." >&2
