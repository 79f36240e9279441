#!/bin/bash
# Makes a Raspberry Pi a kiosk. Run it again at will: it changes only what is not yet as it should be.
#   sudo ./install-kiosk.sh [OPTIONS]      in the folder that deploy/make-bundle.sh made
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: install-kiosk.sh [OPTIONS]
  --camera SOURCE      number, picamera2 or RTSP URL (0 at first, later as it is)
  --options TEXT       more options for `quxiang-kiosk run` (later as they are)
  --ntp HOST           the township's server as time server
  --rtc MODEL          a clock on I2C: ds3231, pcf8523, rv3028 ... (writes the dtoverlay)
  --data-partition DEV an ext4 partition for /var/lib/quxiang (made where DEV is empty)
  --read-only          the root file system read-only under an overlay; needs --data-partition
  --no-screen          no browser session on tty1
  --offline            no package index is asked: what is missing is told, or taken from debs/
  --check              say what is missing, change nothing
TEXT
}

camera='' options='' set_options=no ntp='' rtc='' partition='' readonly=no screen=yes offline=no check=no
while [ $# -gt 0 ]; do
  case "$1" in
    --camera) camera=$2; shift ;;
    --options) options=$2 set_options=yes; shift ;;
    --ntp) ntp=$2; shift ;;
    --rtc) rtc=$2; shift ;;
    --data-partition) partition=$2; shift ;;
    --read-only) readonly=yes ;;
    --no-screen) screen=no ;;
    --offline) offline=yes ;;
    --check) check=yes ;;
    --help | -h) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done

here=$(cd "$(dirname "$0")" && pwd)
base=/var/lib/quxiang
app=$base/app
data=$base/kiosk

zh() { case "${QUXIANG_LANG:-${LC_ALL:-${LANG:-}}}" in zh*) return 0 ;; *) return 1 ;; esac; }
say() { if zh; then echo "$1"; else echo "$2"; fi; }
die() { say "$1" "$2" >&2; exit 1; }

[ "$(id -u)" = 0 ] || die "请用 sudo 运行。" "run it with sudo"
[ "$readonly" = no ] || [ -n "$partition" ] || findmnt -n "$base" >/dev/null 2>&1 ||
  die "--read-only 需要 --data-partition：否则断电后记录全丢。" \
    "--read-only needs --data-partition: without one every record is lost with the power"

# shellcheck disable=SC1091
. /etc/os-release
case "${VERSION_CODENAME:-}" in
  bookworm | trixie) ;;
  *) die "只支持 bookworm 和 trixie，这里是 ${PRETTY_NAME:-?}。" \
      "bookworm and trixie are supported, this is ${PRETTY_NAME:-unknown}" ;;
esac
machine=$(uname -m)
case "$machine" in
  aarch64 | x86_64) ;;
  *) die "需要 64 位系统，这里是 $machine。" "a 64-bit system is needed, this is $machine" ;;
esac
running=no
[ ! -d /run/systemd/system ] || running=yes
model=''
[ ! -r /proc/device-tree/model ] || model=$(tr -d '\0' </proc/device-tree/model)
case "$model" in Raspberry*) pi=yes ;; *) pi=no ;; esac
[ "$pi" = yes ] || say "不是树莓派：跳过固件设置。" "this is no Raspberry Pi: its firmware settings are skipped"
[ "$running" = yes ] || say "systemd 没有运行：只安装，不启动。" "systemd does not run here: installed, not started"

changes=0
changed() { changes=$((changes + 1)); say "  已设置：$1" "  set: $1"; }
# put SOURCE TARGET MODE: a file as it should be.
put() {
  if cmp -s "$1" "$2" && [ "$(stat -c %a "$2")" = "$3" ]; then return 0; fi
  install -D -m "$3" "$1" "$2"
  changed "$2"
}
# line FILE TEXT: a line that must stand in a file.
line() {
  grep -qxF -- "$2" "$1" 2>/dev/null && return 0
  printf '%s\n' "$2" >>"$1"
  case "$1" in /boot/*) reboot=yes ;; esac
  changed "$1: $2"
}

# setting NAME VALUE: in kiosk.env. Not by sed: an address of a camera may hold & and |.
setting() {
  local file=/etc/quxiang/kiosk.env
  grep -qxF -- "$1=$2" "$file" && return 0
  NAME=$1 VALUE=$2 awk 'index($0, ENVIRON["NAME"] "=") == 1 { $0 = ENVIRON["NAME"] "=" ENVIRON["VALUE"] } { print }' \
    "$file" >"$file.new"
  grep -qxF -- "$1=$2" "$file.new" || printf '%s\n' "$1=$2" >>"$file.new"
  chmod 644 "$file.new"
  mv "$file.new" "$file"
  changed "$file: $1"
}
reboot=no # what the firmware or the start of the system must read first

# -- packages of the system ----------------------------------------------------------------
wanted=(python3 openssl ca-certificates systemd udev dbus systemd-timesyncd util-linux procps
  fonts-noto-cjk espeak-ng alsa-utils)
if [ "$screen" = yes ]; then
  wanted+=(cage libpam-systemd)
  if apt-cache show chromium >/dev/null 2>&1; then wanted+=(chromium); else wanted+=(chromium-browser); fi
  # Only recommended by it; without it the browser does not start where the kernel gives it no sandbox.
  ! apt-cache show chromium-sandbox >/dev/null 2>&1 || wanted+=(chromium-sandbox)
  # Its cage (0.1.4) ends at once where this cannot be found, though it names it nowhere.
  [ "$VERSION_CODENAME" != bookworm ] || wanted+=(xwayland)
fi
# Hardware SPI for boards of `shift` and `apa102`; without it gpiozero does it slowly by itself.
[ "$machine" != aarch64 ] || wanted+=(python3-spidev)
# No wheel brings the pins' library for Python 3.13.
[ "$machine" != aarch64 ] || [ "$VERSION_CODENAME" != trixie ] || wanted+=(python3-lgpio)
[ "$readonly" = no ] || wanted+=(overlayroot)
[ -z "$partition" ] || wanted+=(e2fsprogs) # trixie may lack it
# systemd-timesyncd gives way to chrony or ntpsec where one of them keeps the time.
missing=()
for package in "${wanted[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' && continue
  if [ "$package" = systemd-timesyncd ] && dpkg-query -W -f '${Status}' chrony 2>/dev/null | grep -q 'ok installed'; then
    continue
  fi
  missing+=("$package")
done
if [ "$check" = yes ]; then
  say "缺少的软件包：${missing[*]:-无}" "missing packages: ${missing[*]:-none}"
  exit 0
fi
if [ "${#missing[@]}" -gt 0 ]; then
  export DEBIAN_FRONTEND=noninteractive
  say "安装：${missing[*]}" "installing: ${missing[*]}"
  debs=$here/debs/${VERSION_CODENAME}-${machine}
  if [ -d "$debs" ]; then
    # Packages of the stick first: a village has no package index.
    dpkg --force-confold -i "$debs"/*.deb >/dev/null 2>&1 || dpkg --configure -a >/dev/null ||
      die "debs/ 里的软件包装不上。" "the packages in debs/ could not be installed"
  elif [ "$offline" = yes ]; then
    die "缺少 ${missing[*]}：请联网，或用 make-bundle.sh --debs 做安装盘。" \
      "${missing[*]} missing: connect the network, or make the stick with make-bundle.sh --debs"
  else
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  fi
  changed "packages"
fi

# -- users ---------------------------------------------------------------------------------
# user NAME HOME GROUP...: a user without a password, in those of the groups that there are.
user() {
  local name=$1 home=$2 group
  shift 2
  if ! id "$name" >/dev/null 2>&1; then
    useradd --system --user-group --home-dir "$home" --no-create-home --shell /usr/sbin/nologin "$name"
    changed "user $name"
  fi
  for group in "$@"; do
    getent group "$group" >/dev/null || continue
    id -nG "$name" | tr ' ' '\n' | grep -qx "$group" && continue
    usermod -aG "$group" "$name"
    changed "$name: $group"
  done
}
for group in gpio spi; do # plain Debian has neither; the udev rules name them
  getent group "$group" >/dev/null || { groupadd --system "$group"; changed "group $group"; }
done
user quxiang "$data" video render gpio spi i2c audio input
user quxiang-screen /run/quxiang-screen video render audio input

# -- the data partition --------------------------------------------------------------------
if [ -n "$partition" ]; then
  [ -b "$partition" ] || die "$partition 不是分区。" "$partition is no partition"
  kind=$(blkid -o value -s TYPE "$partition" || true)
  if [ -z "$kind" ]; then
    mkfs.ext4 -q -L quxiang-data "$partition"
    changed "mkfs.ext4 $partition"
  elif [ "$kind" != ext4 ]; then
    die "$partition 上已有 $kind，不会覆盖。" "$partition holds $kind already and is not overwritten"
  fi
  uuid=$(blkid -o value -s UUID "$partition")
  mkdir -p "$base"
  line /etc/fstab "UUID=$uuid $base ext4 noatime,nosuid,nodev,errors=remount-ro 0 2"
  if ! findmnt -n "$base" >/dev/null 2>&1; then
    if [ -n "$(ls -A "$base")" ]; then
      # A kiosk that ran without the partition: its pairing, records and releases move along.
      [ "$running" = no ] || systemctl stop quxiang-kiosk quxiang-update.path quxiang-update.service || true
      moving=$(mktemp -d)
      mount "$partition" "$moving"
      if [ -e "$moving/kiosk" ] || [ -e "$moving/app" ]; then
        umount "$moving"
        die "$partition 和 $base 都有终端数据：请先移走其中一份。" \
          "both $partition and $base hold a kiosk's data: move one of them away first"
      fi
      cp -a "$base/." "$moving/"
      sync
      diff -rq --no-dereference "$base" "$moving" | grep -v ': lost+found$' | grep . && die "复制到 $partition 不完整。" \
        "the copy on $partition is not whole"
      umount "$moving"
      rmdir "$moving"
      # Two copies of a kiosk must never run.
      find "$base" -mindepth 1 -delete
      changed "$base -> $partition"
    fi
    mount "$base"
  fi
fi

# -- folders -------------------------------------------------------------------------------
# folder PATH OWNER MODE
folder() {
  if [ -d "$1" ] && [ "$(stat -c '%U %a' "$1")" = "$2 $3" ]; then return 0; fi
  install -d -o "$2" -g "$2" -m "$3" "$1"
  changed "$1"
}
folder "$base" root 755
folder "$app" root 755
folder "$app/releases" root 755
folder "$data" quxiang 700
folder "$data/update" quxiang 700
folder /etc/quxiang root 755

# -- the keeper of releases, its helpers and the units -------------------------------------
for file in __init__.py releases.py release_file.py; do put "$here/lib/kiosk/$file" "$app/lib/kiosk/$file" 644; done
for file in quxiang-release quxiang-screen quxiang-usb; do put "$here/bin/$file" "$app/bin/$file" 755; done
[ ! -f "$here/deploy.md" ] || put "$here/deploy.md" "$app/deploy.md" 644
units=(quxiang-kiosk.service quxiang-update.path quxiang-update.service quxiang-usb@.service)
[ "$screen" = no ] || units+=(quxiang-screen.service)
for unit in "${units[@]}"; do put "$here/systemd/$unit" "/etc/systemd/system/$unit" 644; done
put "$here/config/60-quxiang.rules" /etc/udev/rules.d/60-quxiang.rules 644
cmp -s "$here/config/system.conf" /etc/systemd/system.conf.d/quxiang.conf || reboot=yes
put "$here/config/system.conf" /etc/systemd/system.conf.d/quxiang.conf 644
put "$here/config/journald.conf" /etc/systemd/journald.conf.d/quxiang.conf 644
[ "$screen" = no ] || put "$here/config/pam-quxiang-screen" /etc/pam.d/quxiang-screen 644
# What a technician wrote there later is left alone, unless this call says otherwise.
[ -e /etc/quxiang/kiosk.env ] || put "$here/config/kiosk.env" /etc/quxiang/kiosk.env 644
[ -z "$camera" ] || setting CAMERA "$camera"
[ "$set_options" = no ] || setting OPTIONS "$options"
made=$(mktemp)
cat >"$made" <<'TEXT'
#!/bin/sh
# `sudo quxiang-kiosk COMMAND` as the kiosk's user, on the kiosk's folder.
case "${1:-}" in
  run) echo "systemctl restart quxiang-kiosk" >&2; exit 2 ;;
  *) run='setpriv --reuid quxiang --regid quxiang --init-groups --' ;;
esac
export HOME=/var/lib/quxiang/kiosk QUXIANG_APP=/var/lib/quxiang/app
export QUXIANG_MODELS=/var/lib/quxiang/app/current/models
# Names of files are meant from where one stands, where that user may stand there too.
$run test -x . || cd /
case " $* " in
  *" --data "* | *" --help "*) exec $run /var/lib/quxiang/app/current/venv/bin/quxiang-kiosk "$@" ;;
  *) exec $run /var/lib/quxiang/app/current/venv/bin/quxiang-kiosk "$@" --data /var/lib/quxiang/kiosk ;;
esac
TEXT
put "$made" /usr/local/bin/quxiang-kiosk 755
rm -f "$made"

# -- time ----------------------------------------------------------------------------------
if [ -n "$ntp" ]; then
  mkdir -p /etc/systemd/timesyncd.conf.d
  made=$(mktemp)
  printf '[Time]\nNTP=%s\nFallbackNTP=\n' "$ntp" >"$made"
  put "$made" /etc/systemd/timesyncd.conf.d/quxiang.conf 644
  rm -f "$made"
fi
firmware=''
for candidate in /boot/firmware/config.txt /boot/config.txt; do
  [ ! -f "$candidate" ] || { firmware=$candidate; break; }
done
if [ -n "$rtc" ]; then
  [ -n "$firmware" ] || die "没有 config.txt，不能设置时钟芯片。" "there is no config.txt to name the clock in"
  line "$firmware" "dtoverlay=i2c-rtc,$rtc"
fi
if [ -e /dev/rtc0 ] || { [ -n "$firmware" ] && grep -q '^dtoverlay=i2c-rtc' "$firmware"; }; then
  # A real clock: the one that only remembers the last shutdown would set it back at each start.
  if dpkg-query -W -f '${Status}' fake-hwclock 2>/dev/null | grep -q 'ok installed'; then
    apt-get purge -y -qq fake-hwclock >/dev/null
    changed "fake-hwclock removed"
  fi
fi
if [ "$pi" = yes ] && [ -n "$firmware" ]; then
  line "$firmware" "dtparam=watchdog=on"
  # Somebody who hangs lamps straight on SPI's pins turned it off: raspi-config writes that line.
  grep -qx 'dtparam=spi=off' "$firmware" || line "$firmware" "dtparam=spi=on"
fi

# -- the release ---------------------------------------------------------------------------
if [ -f "$here/release.key" ]; then
  if [ -f "$app/release.key" ] && ! cmp -s "$here/release.key" "$app/release.key"; then
    die "发布密钥与已装的不同：若确要更换，请先删除 $app/release.key。" \
      "the release key differs from the pinned one: to change it on purpose delete $app/release.key first"
  fi
  put "$here/release.key" "$app/release.key" 644
fi
bundle=$(find "$here" -maxdepth 1 -name "quxiang-*-$machine.qxr" | sort -V | tail -1)
before=$("$app/bin/quxiang-release" status)
number=$(basename "${bundle:-quxiang-0-none}" | cut -d- -f2)
have=$(printf '%s' "$before" | python3 -c 'import json,sys; s=json.load(sys.stdin); print(max([0, *s["releases"]]))')
if [ -n "$bundle" ] && [ "$number" -gt "$have" ]; then
  say "安装版本 $number（几分钟）……" "installing release $number (a few minutes) ..."
  "$app/bin/quxiang-release" install "$bundle"
  changed "release $number"
elif [ "$have" = 0 ]; then
  die "这里没有用于 $machine 的 quxiang-*.qxr。" "there is no quxiang-*-$machine.qxr beside this script"
fi

# -- read-only root ------------------------------------------------------------------------
if [ "$readonly" = yes ]; then
  # Not raspi-config's switch: its overlayroot=tmpfs would lay the overlay over the data partition
  # too (recurse is 1 by default), and every record would be gone with the power.
  ! grep -q 'overlayroot=' /proc/cmdline || grep -q 'overlayroot=tmpfs:recurse=0\|overlayroot=disabled' /proc/cmdline ||
    die "cmdline.txt 里已有 overlayroot：请先用 raspi-config 关闭。" \
      "cmdline.txt has an overlayroot of its own: turn it off in raspi-config first"
  made=$(mktemp)
  printf '%s\n' 'overlayroot="tmpfs:recurse=0"' >"$made"
  cmp -s "$made" /etc/overlayroot.local.conf || reboot=yes
  put "$made" /etc/overlayroot.local.conf 644
  rm -f "$made"
  folder "$base/timesync" root 755
  mkdir -p /var/lib/systemd/timesync
  line /etc/fstab "$base/timesync /var/lib/systemd/timesync none bind,nofail,x-systemd.requires-mounts-for=$base 0 0"
  [ "$running" = no ] || update-initramfs -u
fi

# -- on ------------------------------------------------------------------------------------
for unit in quxiang-kiosk.service quxiang-update.path; do
  [ "$(systemctl is-enabled "$unit" 2>/dev/null)" = enabled ] || { systemctl -q enable "$unit"; changed "$unit"; }
done
if [ "$screen" = yes ] && [ "$(systemctl is-enabled quxiang-screen.service 2>/dev/null)" != enabled ]; then
  systemctl -q enable quxiang-screen.service
  changed quxiang-screen.service
fi
if [ "$screen" = yes ] && [ -e /etc/systemd/system/display-manager.service ]; then
  # A desktop would hold the screen on which the kiosk's page is to be.
  systemctl -q disable display-manager.service
  reboot=yes
  changed "display-manager.service off"
fi
if [ "$running" = yes ]; then
  systemctl daemon-reload
  udevadm control --reload
  udevadm trigger --subsystem-match=gpio --subsystem-match=spidev --subsystem-match=video4linux || true
  systemctl restart systemd-journald
  systemctl restart quxiang-kiosk quxiang-update.path
  [ "$screen" = no ] || systemctl restart quxiang-screen
fi
[ "$reboot" = no ] || say "请重启：sudo reboot。" "restart it now: sudo reboot"
say "完成，改动 $changes 处。下一步：配对（见 deploy.md）。" "done, $changes changes. Next: pairing (see deploy.md)."
