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
