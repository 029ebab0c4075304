#!/usr/bin/env bash
# Runs a command in the mounted checkout as the checkout's owner, so that the files that a stage
# writes belong to them and not to root. Before `dvc ...` the data are pulled if they are missing or
# if the last pull did not end. After a successful `dvc repro` the results are printed.
set -euo pipefail

if [ ! -f pyproject.toml ]; then
  echo "No checkout at $PWD: mount the repository there (docker compose run does)." >&2
  exit 2
fi

# A git worktree holds only the path of its repository, which DVC needs.
if [ "${1:-}" = dvc ] && [ -f .git ]; then
  repository=$(sed -n 's/^gitdir: //p' .git)
  common=${repository%/worktrees/*}
  if [ ! -d "$repository" ]; then
    echo "This checkout is a git worktree and its repository is not mounted: run" \
      "docker compose run --rm -v '$common:$common:z' train $*" >&2
    exit 2
  fi
fi

as_owner=()
if [ "$(id -u)" = 0 ]; then
  owner=$(stat -c %u .) group=$(stat -c %g .)
  export HOME=/home/edge-glass
  install -d -o "$owner" -g "$group" "$HOME"
  as_owner=(setpriv --reuid "$owner" --regid "$group" --clear-groups)
fi
# The owner's number has no name in this image, and DVC needs one.
export USER=edge-glass LOGNAME=edge-glass

# DVC locks with flock. Without it, as on some network disks, DVC reports a different DVC process.
if [ "${1:-}" = dvc ] && ! "${as_owner[@]}" flock --nonblock . true 2>/dev/null &&
  [ "$("${as_owner[@]}" dvc config core.hardlink_lock 2>/dev/null)" != true ]; then
  echo "The disk of this checkout has no flock, which DVC needs. In the checkout, run" \
    "'dvc config --local core.hardlink_lock true && rm -f .dvc/tmp/*lock', then repeat this command." >&2
  exit 2
fi

# The file is there while a pull runs, so it is still there after a pull that was interrupted.
pulling=.dvc/tmp/pulling-data
if [ "${1:-}" = dvc ] && [ -f data.dvc ] && { [ ! -e data ] || [ -e "$pulling" ]; }; then
  "${as_owner[@]}" mkdir -p .dvc/tmp
  "${as_owner[@]}" touch "$pulling"
  "${as_owner[@]}" dvc pull --quiet data.dvc
  "${as_owner[@]}" rm "$pulling"
fi
if [ "${1:-} ${2:-}" != "dvc repro" ]; then
  exec "${as_owner[@]}" "$@"
fi

# In the background, because a waiting shell acts on a signal at once. `docker stop` signals this
# shell alone and DVC ignores the signal while a stage runs: the whole group must receive it.
"${as_owner[@]}" env --default-signal=INT "$@" <&0 &
trap 'trap "" INT; kill -INT 0' INT
status=0
wait "$!" || status=$?
if kill -0 "$!" 2>/dev/null; then
  wait "$!" || status=$?
fi
if [ "$status" = 0 ]; then
  echo "DVC skips a stage ('didn't change') if its inputs equal dvc.lock and its results are in git or" \
    "in the cache; dvc repro --force runs every stage."
  exec "${as_owner[@]}" edge-glass results
fi
exit "$status"
