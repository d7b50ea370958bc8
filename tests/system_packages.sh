#!/usr/bin/env bash
# The system libraries that Blender's module and MediaPipe load (OpenGL without a screen, X11 client libraries).
# Does nothing where they are there already.
set -euo pipefail
missing=0
for library in libGL.so.1 libEGL.so.1 libXrender.so.1 libXi.so.6 libxkbcommon.so.0 libSM.so.6 libXxf86vm.so.1 libXfixes.so.3 libglib-2.0.so.0; do
  ldconfig -p | grep -q "$library" || missing=1
done
ls /usr/lib/*/dri/swrast_dri.so /usr/lib*/dri/swrast_dri.so /usr/lib/*/libgallium*.so >/dev/null 2>&1 || ls /usr/lib/*/dri/*_dri.so >/dev/null 2>&1 || missing=1
python=$(command -v python3.11 || command -v python3)
"$python" -c 'import ensurepip' 2>/dev/null || missing=1
[ "$missing" = 1 ] || exit 0
sudo=""; [ "$(id -u)" = 0 ] || sudo=sudo
if command -v apt-get >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  $sudo apt-get update -qq
  $sudo apt-get install -y -qq libgl1 libegl1 libegl-mesa0 libgl1-mesa-dri libxrender1 libxi6 libxkbcommon0 libsm6 libxxf86vm1 libxfixes3 libglib2.0-0 >/dev/null
  "$python" -c 'import ensurepip' 2>/dev/null || $sudo apt-get install -y -qq python3.11-venv >/dev/null
elif command -v dnf >/dev/null; then
  $sudo dnf install -y -q mesa-libGL mesa-libEGL mesa-dri-drivers libXrender libXi libxkbcommon libSM libXxf86vm libXfixes glib2
elif command -v pacman >/dev/null; then
  $sudo pacman -S --needed --noconfirm mesa libglvnd libxrender libxi libxkbcommon libsm libxxf86vm libxfixes glib2
else
  echo "Install OpenGL/EGL (Mesa), libXrender, libXi, libxkbcommon, libSM, libXxf86vm, libXfixes and GLib with your package manager." >&2
fi
