"""docs/deploy.md followed word by word in a tree: its commands are taken from the page itself."""

from __future__ import annotations

import json
import re
import shlex

from kiosk.housekeeping import BALLAST, BALLAST_BYTES
from tests.faults.played import ROOT, SITE, STICK, Desk, answers, pair, play
from tests.faults.rig import need
from tests.faults.tree import Tree
from tests.faults.unit import Unit

HOME = "/var/lib/quxiang/kiosk"


def steps(section: int) -> list[list[str]]:
    """The commands of a section of docs/deploy.md, block by block, without sudo and systemd."""
    page = (ROOT / "docs/deploy.md").read_text("utf-8")
    text = page.split(f"\n## {section}. ")[1].split("\n## ")[0]
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.startswith("    "):
            words = line.strip().removeprefix("sudo ")
            blocks[-1] += [] if words.startswith("systemctl ") else [words]
        elif blocks[-1]:
            blocks.append([])
    return [block for block in blocks if block]


def replace(kiosk: Tree, server: Tree, desk: Desk, screen: bool) -> None:
    """Section 7, as it stands on the page: a card that can be read, then one that cannot."""
    moving, revoking = steps(7)
    old = json.loads(kiosk.run("quxiang-kiosk status --json"))["device"]
    home, card = "/var/lib/quxiang/kiosk", "/run/quxiang/usb/sda2/var/lib/quxiang"
    kiosk.run(f"mkdir -p {card} && cp -r {home} {card}/ && chown -R root: {card}")
    kiosk.run(f"find {home} -mindepth 1 -delete && touch {home}/kiosk.db-wal")  # of its first start
    for line in moving:
        kiosk.run(line)
    now = json.loads(kiosk.run("quxiang-kiosk status --json"))
    need(now["device"] == old, "another kiosk came of the old card")
    need(play(kiosk, screen) >= 2, "the kiosk of the old card does not record")
    kiosk.run("rm -r /run/quxiang/usb/sda2")
    for line in revoking:
        said = server.run(line.replace(" ID", f" {old}"))
        need(line.endswith(" ID") or (old in said and SITE in said), said)
    kiosk.run(f"find {home} -mindepth 1 -delete")
    pair(kiosk, server)
    desk.run("sync")
    need(play(kiosk, screen) >= 2, "the new kiosk does not record")
    now = json.loads(kiosk.run("quxiang-kiosk status --json"))
    need(now["device"] != old and now["pending"] == 0, f"{now}")
    need("revoked" in server.run("quxiang-server device list"), "the old kiosk counts on")


def backup(server: Tree, folder: str = "/var/lib/quxiang/backups") -> str:
    """The nightly unit, once; the file that it made."""
    unit = Unit(server, "quxiang-backup.service")
    server.run(shlex.join(unit.command(unit.words("ExecStart")[0])), **unit.environ())
    kept = sorted(server.run(f"ls {folder}").split())
    made = [name for name in kept if name.endswith(".backup")]
    need(bool(made) and "witness.json" in kept, f"{kept}")
    return f"{folder}/{made[-1]}"


def other_disk(server: Tree) -> None:
    """Section 2: the nightly backup on another disk."""
    (block,) = (each for each in steps(2) if "chown" in each[0])
    server.run("mkdir -p /var/backups/quxiang")  # where it is mounted
    for line in block:
        server.run(line)
    backup(server, "/var/backups/quxiang")


def postgresql(tree: Tree) -> None:
    """Section 2 with a PostgreSQL, on a machine of its own: made, served, backed up, restored."""
    (block,) = (each for each in steps(2) if "createuser" in " ".join(each))
    tree.run("apt-get update -qq")
    for line in block:
        if line.startswith("apt install"):
            apt = line.replace("apt install", "apt-get install -y -qq")
            tree.run(apt, DEBIAN_FRONTEND="noninteractive")
            # As its own unit does, which a tree has nobody to run for.
            tree.run("pg_ctlcluster $(pg_lsclusters -h | cut -d' ' -f1,2) start")
        else:
            # The page's sudo, but for the root that a tree has anyway.
            tree.run(re.sub(r"^-u (\w+) ", r"runuser -u \1 -- ", line), at=STICK)
    asked = "runuser -u postgres -- psql -tc 'select count(*) from pg_stat_user_tables' quxiang"
    tables = tree.run(asked)
    need(int(tables) > 20, f"the tables are not in PostgreSQL: {tables}")
    need(not (tree.folder / "var/lib/quxiang/server/server.db").exists(), "a SQLite file beside it")
    tree.alone()
    serving = Unit(tree, "quxiang-server.service")
    serving.start(lambda: answers(tree))
    tree.run(f"quxiang-server code --kind kiosk --site {SITE} --site-kind village")
    tree.run("quxiang-server verify")
    kept = backup(tree)
    serving.stop()
    # A backup is whole: another machine, without that PostgreSQL, goes on from it.
    tree.run(f"install -d -o quxiang /tmp/other && setpriv --reuid quxiang --regid quxiang "
             f"--init-groups /opt/quxiang/venv/bin/quxiang-server restore {kept} "
             "--data /tmp/other/server")  # fmt: skip
    said = tree.run("quxiang-server device list --data /tmp/other/server")
    need(SITE in said or not said.strip(), said)


def records_and_room(kiosk: Tree, screen: bool) -> None:
    """Section 5: the option, its least value, the reserve."""
    text = (ROOT / "docs/deploy.md").read_text("utf-8").split("\n## 5. ")[1].split("\n## ")[0]
    need("OPTIONS=--keep-days N" in text and "366" in text and "400" in text, text)
    for days, said in ((365, "366"), (366, "")):
        kiosk.run("bash ./install-kiosk.sh --camera /srv/footage.avi --options "
                  f"'--keep-days {days} --until-end --liveness off'"
                  f"{'' if screen else ' --no-screen'}", at=STICK)  # fmt: skip
        unit = Unit(kiosk, "quxiang-kiosk.service")
        if said:
            words = unit.command(unit.words("ExecStart")[0])
            refused = kiosk.run(shlex.join(words), code=2, **unit.environ())
            need(said in refused, refused)
            continue
        unit.start()
        unit.wait(600)
    held = kiosk.folder / HOME.lstrip("/") / BALLAST
    need(held.stat().st_size == BALLAST_BYTES, "nothing is held back")
    kiosk.run("quxiang-kiosk verify")


def a_year_later(kiosk: Tree) -> None:
    """Section 6: its commands, and its table names what is looked at."""
    (block,) = steps(6)
    said = kiosk.run(block[0], code=None)
    text = (ROOT / "docs/deploy.md").read_text("utf-8").split("\n## 6. ")[1].split("\n## ")[0]
    listed = {name for row in re.findall(r"^\| ([a-z_, ]+) \|", text, re.MULTILINE)
              for name in row.split(", ")}  # fmt: skip
    checks = json.loads(kiosk.run(f"{block[0]} --json 2>/dev/null", code=None))["checks"]
    seen = {each["name"] for each in checks}
    need(listed == seen, f"only on the page {listed - seen}, only looked at {seen - listed}")
    need(all(name in said for name in seen), said)
    for line in block[1:]:
        kiosk.run(line)
