#!/usr/bin/env bash
# Set-up and all tests.
set -euo pipefail
cd "$(dirname "$0")/.."
bash tests/setup.sh
.venv/bin/python -m pytest "$@"
