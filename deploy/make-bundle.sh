#!/bin/bash
# Makes the folder for a USB stick: signed releases for kiosks, the wheels of the server, the
# installers. Needs a network and a checkout with `make setup`; what it makes needs neither.
#   deploy/make-bundle.sh --key FILE --number N --out DIR [--machine aarch64]... [--debs] [--no-server]
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=$root/.venv/bin/python
key='' number='' out='' machines=() debs=no server=yes
while [ $# -gt 0 ]; do
  case "$1" in
    --key) key=$2; shift ;;
    --number) number=$2; shift ;;
    --out) out=$2; shift ;;
    --machine) machines+=("$2"); shift ;;
    --debs) debs=yes ;;
    --no-server) server=no ;;
    *) sed -n '2,4p' "$0" >&2; exit 2 ;;
  esac
  shift
done
if [ -z "$key" ] || [ -z "$number" ] || [ -z "$out" ]; then
  sed -n '2,4p' "$0" >&2
  exit 2
fi
[ "${#machines[@]}" -gt 0 ] || machines=(aarch64)
[ -f "$key" ] || "$python" "$root/scripts/make_release.py" key "$key"

mkdir -p "$out/lib/kiosk"
for machine in "${machines[@]}"; do
  "$python" "$root/scripts/make_release.py" build --key "$key" --number "$number" \
    --machine "$machine" --python 3.11 --python 3.13 --out "$out"
done
if [ "$server" = yes ]; then
  "$python" "$root/scripts/make_release.py" wheels --extra server --machine x86_64 \
    --python 3.11 --python 3.13 --out "$out/server-wheels"
fi
cp "$key.pub" "$out/release.key"
cp "$root"/kiosk/{__init__,releases,release_file}.py "$out/lib/kiosk/"
cp -r "$root"/deploy/{bin,config,nginx,systemd,install-kiosk.sh,install-server.sh} "$out/"
cp "$root/docs/deploy.md" "$out/deploy.md"

if [ "$debs" = yes ]; then
  # Run on a machine with the same system as the kiosks: the packages that they lack, to carry along.
  # shellcheck disable=SC1091
  place=$out/debs/$(. /etc/os-release && echo "$VERSION_CODENAME")-$(uname -m)
  mkdir -p "$place/partial"
  wanted=$("$out/install-kiosk.sh" --check | sed -n 's/^.*: //p' | tail -1)
  # shellcheck disable=SC2086
  [ "$wanted" = none ] || [ "$wanted" = 无 ] || apt-get install -y -qq --no-install-recommends \
    --download-only -o Dir::Cache::archives="$place" $wanted >/dev/null
  rm -rf "$place/partial" "$place/lock"
fi
du -sh "$out"
