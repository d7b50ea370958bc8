#!/usr/bin/env bash
# A real Blender where none is installed: Debian's, in a root folder of its own (needs root and a network; 1.5 GB).
#
#   root.sh make DIR [SUITE]               trixie (the default) has Blender 4.3, sid the newest
#   root.sh run DIR FOLDER COMMAND [ARG…]  run a command in it; FOLDER is /shared inside
#
# "make" does nothing where DIR has a Blender already, and says in one line why it can't make one.
set -euo pipefail
verb=${1:?make or run}; root=${2:?folder}
mkdir -p "$root"; root=$(cd "$root" && pwd)
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
mounted=()

attach() {
  mkdir -p "$root/proc" "$root/dev"
  mount -t proc proc "$root/proc"; mounted+=("$root/proc")
  mount --bind /dev "$root/dev"; mounted+=("$root/dev")
  if [[ -n ${1:-} ]]; then
    mkdir -p "$root/shared"
    mount --bind "$1" "$root/shared"; mounted+=("$root/shared")
  fi
}

detach() {
  # Nothing may stay mounted: somebody may remove the folder.
  for place in "${mounted[@]}"; do umount -l "$place" || true; done
}
trap detach EXIT

give_up() {
  echo "No Blender was made: $1" >&2
  exit 1
}

case $verb in
make)
  suite=${3:-trixie}
  if [[ ! -e $root/complete ]]; then
    [[ $(id -u) = 0 ]] || give_up "that needs root."
    if ! command -v debootstrap >/dev/null; then
      command -v apt-get >/dev/null || give_up "debootstrap is not installed."
      { apt-get update -qq && apt-get install -y -qq debootstrap; } >"$root.log" 2>&1 ||
        give_up "debootstrap can't be installed, see $root.log."
    fi
    [[ -x $root/usr/bin/apt-get ]] || debootstrap --variant=minbase "$suite" "$root" >>"$root.log" 2>&1 ||
      give_up "debootstrap failed, see $root.log."
    attach
    chroot "$root" apt-get install -y --no-install-recommends blender python3-numpy python3-requests libegl1 \
      libegl-mesa0 libgl1 libgl1-mesa-dri >>"$root.log" 2>&1 || give_up "apt-get failed, see $root.log."
    # Blender 5.2's extension command wants cattrs, which older suites call otherwise or don't have.
    chroot "$root" apt-get install -y --no-install-recommends python3-cattr >>"$root.log" 2>&1 || true
    chroot "$root" apt-get clean
    touch "$root/complete"
  fi
  echo "Blender in $root"
  ;;
run)
  shared=${3:?shared folder}; shift 3
  [[ $(id -u) = 0 ]] || give_up "running it needs root."
  attach "$shared"
  chroot "$root" env HOME=/root LIBGL_ALWAYS_SOFTWARE=1 BLENDER_USER_RESOURCES=/shared PARLEY_DATA=/shared \
    sh -c 'cd /shared && exec "$@"' sh "$@"
  ;;
*) echo "root.sh: make or run" >&2; exit 2 ;;
esac
