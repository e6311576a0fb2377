#!/usr/bin/env bash
# Install a wheel or a source distribution into an empty environment and use it from a folder that knows nothing of the repository.
# Usage: try_wheel.sh PYTHON FILE...
set -euo pipefail

constraints=$(realpath "$(dirname "$0")/../constraints.txt")
python=$(command -v "$1")
shift
mapfile -t files < <(realpath "$@")

# A subshell, so that its folder goes however it ends.
try() (
  place=$(mktemp -d)
  trap 'rm -rf "$place"' EXIT
  cd "$place"
  "$python" -m venv empty
  bin=$place/empty/bin
  "$bin/python" -m pip install --quiet --constraint "$constraints" torch
  "$bin/python" -m pip install --quiet --constraint "$constraints" "$1"
  "$bin/python" -m pip check

  "$bin/resdx" --version
  "$bin/resdx" --help > /dev/null
  "$bin/python" - <<'PYTHON'
from pathlib import Path

import resdx

assert "site-packages" in resdx.__file__, resdx.__file__
resdx.draw_phantoms(Path("films"), persons=40, size=48, copies=1)
PYTHON
  "$bin/resdx" run films-truth.csv --out runs/first --size 48 --set model.backbone.depth=18 --set learn.epochs=1 --set learn.start_size=0 \
    --skip controls --skip explain
  test -s runs/first/report.html
  "$bin/resdx" predict runs/first films/normal --csv > answers.csv
  test "$(wc -l < answers.csv)" -gt 1
  echo "it works: $(basename "$1")"
)

for file in "${files[@]}"; do try "$file"; done
