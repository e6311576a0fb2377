#!/usr/bin/env bash
# Install a wheel into an empty environment and use it from a folder that knows nothing of the repository.
# Usage: try_wheel.sh PYTHON WHEEL
set -euo pipefail

wheel=$(realpath "$2")
constraints=$(realpath "$(dirname "$0")/../constraints.txt")
python=$(command -v "$1")
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"

"$python" -m venv empty
bin=$place/empty/bin
"$bin/python" -m pip install --quiet --constraint "$constraints" torch
"$bin/python" -m pip install --quiet --constraint "$constraints" "$wheel"
"$bin/python" -m pip check

"$bin/resdx" --version
"$bin/resdx" --help > /dev/null
"$bin/python" - <<'PYTHON'
from pathlib import Path

import resdx

assert "site-packages" in resdx.__file__, resdx.__file__
resdx.phantoms(Path("films"), persons=40, size=48, copies=1)
PYTHON
"$bin/resdx" scan films --out runs/first
# The planted copy stops the audit, and so the exit status is not 0.
if "$bin/resdx" audit runs/first; then
  echo "the audit did not stop at a copied film" >&2
  exit 1
fi
echo "the wheel works: $(basename "$wheel")"
