#!/usr/bin/env bash
# Runs a command in the mounted checkout as the checkout's owner, so that what a stage writes is
# theirs and not root's. `dvc ...` finds the data: on a fresh clone they are pulled first.
set -euo pipefail

if [ ! -f pyproject.toml ]; then
  echo "No checkout at $PWD: mount the repository there (docker compose run does)." >&2
  exit 2
fi

as_owner=()
if [ "$(id -u)" = 0 ]; then
  owner=$(stat -c %u .) group=$(stat -c %g .)
  export HOME=/home/edge-glass
  install -d -o "$owner" -g "$group" "$HOME"
  as_owner=(setpriv --reuid "$owner" --regid "$group" --clear-groups)
fi
# The owner's number has no name in this image, and DVC asks for one.
export USER=edge-glass LOGNAME=edge-glass

if [ "${1:-}" = dvc ] && [ -f data.dvc ] && [ ! -e data ]; then
  "${as_owner[@]}" dvc pull --quiet data.dvc
fi
exec "${as_owner[@]}" "$@"
