#!/bin/bash
# Makes a Debian machine the township's server. Run it again at will, also to update it.
#   sudo ./install-server.sh --name quxiang.township --address 192.168.1.10 [--township 青石乡]
set -euo pipefail
name='' address='' township=示例乡 database='' offline=no ntp=no
while [ $# -gt 0 ]; do
  case "$1" in
    --name) name=$2; shift ;;
    --address) address=$2; shift ;;
    --township) township=$2; shift ;;
    --database) database=$2; shift ;;
    --offline) offline=yes ;;
    --ntp) ntp=yes ;;
    *) sed -n '2,3p' "$0" >&2; echo "also: --database URL (PostgreSQL), --ntp (kiosks take their time here), --offline" >&2; exit 2 ;;
  esac
  shift
done
here=$(cd "$(dirname "$0")" && pwd)
base=/var/lib/quxiang
zh() { case "${QUXIANG_LANG:-${LC_ALL:-${LANG:-}}}" in zh*) return 0 ;; *) return 1 ;; esac; }
say() { if zh; then echo "$1"; else echo "$2"; fi; }
die() { say "$1" "$2" >&2; exit 1; }
[ "$(id -u)" = 0 ] || die "请用 sudo 运行。" "run it with sudo"
if [ ! -f "$base/tls.crt" ] && { [ -z "$name" ] || [ -z "$address" ]; }; then
  die "第一次安装需要 --name 和 --address。" "the first time --name and --address are needed"
fi
running=no
[ ! -d /run/systemd/system ] || running=yes
[ "$running" = yes ] || say "systemd 没有运行：只安装，不启动。" "systemd does not run here: installed, not started"

wanted=(python3 openssl ca-certificates systemd)
[ "$ntp" = no ] || wanted+=(chrony)
# Reports as PDF; without them everything else works, and the pages say what is missing.
reports=(libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fonts-noto-cjk)
missing=()
for package in "${wanted[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
  [ "$offline" = no ] || die "缺少软件包：${missing[*]}" "packages missing: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
absent=()
for package in "${reports[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || absent+=("$package")
done
if [ "${#absent[@]}" -gt 0 ]; then
  if [ "$offline" = yes ] || ! DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${absent[@]}" >/dev/null; then
    say "缺少 ${absent[*]}：暂不能生成 PDF，其余不受影响。" "without ${absent[*]} there are no PDFs; everything else works"
  fi
fi
id quxiang >/dev/null 2>&1 ||
  useradd --system --user-group --home-dir "$base" --no-create-home --shell /usr/sbin/nologin quxiang
install -d -o quxiang -g quxiang -m 0700 "$base"
install -d -m 0755 /etc/quxiang /opt/quxiang /opt/quxiang/bin

# The new environment is made whole beside the old one, then the link is turned.
new=/opt/quxiang/venv-$(date +%Y%m%d%H%M%S)
python3 -m venv --without-pip "$new"
pip=$(find "$here/server-wheels" -name 'pip-*.whl' | sort -V | tail -1)
PYTHONPATH=$pip PIP_CONFIG_FILE=/dev/null "$new/bin/python" -m pip install --quiet --no-index --no-input \
  --disable-pip-version-check --root-user-action=ignore --find-links "$here/server-wheels" 'quxiang[server]'
"$new/bin/quxiang-server" --help >/dev/null
ln -sfn "$new" /opt/quxiang/venv.new
mv -T /opt/quxiang/venv.new /opt/quxiang/venv
find /opt/quxiang -maxdepth 1 -name 'venv-*' | sort | head -n -2 | xargs -r rm -rf --

as() { (cd / && HOME=$base setpriv --reuid quxiang --regid quxiang --init-groups -- "$@"); }
if [ ! -f "$base/tls.crt" ]; then
  as openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
    -subj "/CN=$name" -addext "subjectAltName=DNS:$name,IP:$address" \
    -keyout "$base/tls.key" -out "$base/tls.crt" 2>/dev/null
  chmod 600 "$base/tls.key"
fi
if [ ! -f "$base/server/server.key" ]; then
  as /opt/quxiang/venv/bin/quxiang-server init --data "$base/server" --township "$township" \
    ${database:+--database "$database"}
fi
if [ -f "$here/release.key" ] && [ ! -f "$base/server/release.key" ]; then
  install -o quxiang -g quxiang -m 0600 "$here/release.key" "$base/server/release.key"
fi
install -m 0755 "$here/bin/quxiang-backup" /opt/quxiang/bin/quxiang-backup
for unit in quxiang-server.service quxiang-backup.service quxiang-backup.timer; do
  install -m 0644 "$here/systemd/$unit" "/etc/systemd/system/$unit"
done
install -D -m 0644 "$here/config/journald.conf" /etc/systemd/journald.conf.d/quxiang.conf
sed -i 's/^Storage=volatile/Storage=persistent/; s/^SystemMaxUse=.*/SystemMaxUse=200M/' /etc/systemd/journald.conf.d/quxiang.conf
if [ ! -e /etc/quxiang/server.env ]; then
  sed "s|^OPTIONS=.*|OPTIONS=${name:+--hostname $name --hostname $address}${database:+ --database $database}|" \
    "$here/config/server.env" >/etc/quxiang/server.env
  chmod 640 /etc/quxiang/server.env
fi
made=$(mktemp)
cat >"$made" <<'TEXT'
#!/bin/sh
# `sudo quxiang-server COMMAND` as the server's user, on the server's folder.
export HOME=/var/lib/quxiang
run='setpriv --reuid quxiang --regid quxiang --init-groups --'
# Names of files are meant from where one stands, where that user may stand there too.
$run test -x . || cd /
case " $* " in
  *" --data "* | *" --help "*) exec $run /opt/quxiang/venv/bin/quxiang-server "$@" ;;
  *) exec $run /opt/quxiang/venv/bin/quxiang-server "$@" --data /var/lib/quxiang/server ;;
esac
TEXT
install -m 755 "$made" /usr/local/bin/quxiang-server
rm -f "$made"
if [ "$ntp" = yes ]; then
  # Kiosks of the private networks may ask this machine for the time, also while it has no other.
  printf 'allow 10/8\nallow 172.16/12\nallow 192.168/16\nlocal stratum 10\n' >/etc/chrony/conf.d/quxiang.conf
fi
systemctl -q enable quxiang-server.service quxiang-backup.timer
if [ "$running" = yes ]; then
  systemctl daemon-reload
  systemctl restart quxiang-server
  systemctl start quxiang-backup.timer
  [ "$ntp" = no ] || systemctl restart chrony
fi
say "完成。证书副本：$base/tls.crt（装终端时要用）。" "done; the kiosks need a copy of $base/tls.crt"
