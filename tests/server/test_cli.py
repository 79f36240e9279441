"""The commands as an administrator types them: real processes, one clear line for each failure."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from attendance import wire
from attendance.chain import head_code
from attendance.days import SHANGHAI
from attendance.pairing import PairingCode
from attendance.signing import DeviceKeys, to_text
from server.cli import main
from server.config import ServerConfig, load_keys
from server.context import utcnow
from server.db import Database
from server.services.evidence.audit import note_for
from server.services.evidence.checkpoints import make_all
from server.services.township.townships import only_township

Run = Callable[..., subprocess.CompletedProcess[str]]
PASSWORD = r"[0-9A-Z]{4}(-[0-9A-Z]{4}){3}"


@pytest.fixture
def run(environ: dict[str, str], tmp_path: Path) -> Iterator[Run]:
    """`quxiang-server` on this test's own data folder: in this process, for it takes a second less.

    What a process alone shows (signals, sockets, leftovers) the tests of `run` start as one.
    """
    before, mask = dict(os.environ), os.umask(0o022)
    os.umask(mask)

    def call(*args: str, data: Path | None = None, zh: bool = False
             ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        os.environ.update({**environ, "QUXIANG_LANG": "zh" if zh else "en"})
        line = [*args, "--data", str(data or tmp_path / "server")]
        out, error = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            code = main(line)
        return subprocess.CompletedProcess(line, code, out.getvalue(), error.getvalue())

    yield call
    os.environ.clear()
    os.environ.update(before)
    os.umask(mask)


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 1, done.stdout
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def test_a_second_township_and_the_county_s_auditor(run: Run) -> None:
    assert run("init", "--township", "青山乡").returncode == 0
    made = run("township", "add", "白水乡", "--admin", "baishui")
    assert re.fullmatch(PASSWORD, made.stdout.splitlines()[-1])
    assert run("township", "list").stdout.splitlines() == [
        "/t/t1/  青山乡  admin", "/t/t2/  白水乡  baishui",
    ]  # fmt: skip
    refused(run("township", "add", "白水乡", "--admin", "other"), "already")
    refused(run("township", "add", "黑水乡", "--admin", "admin"), "already")
    assert len(run("township", "list").stdout.splitlines()) == 2
    assert run("user", "auditor", "xian.shenji").returncode == 0
    assert "xian.shenji" not in run("user", "list").stdout
    refused(run("user", "role", "xian.shenji", "admin"), "no role")
    refused(run("user", "add", "xian.shenji", "--role", "clerk"), "already")


def test_accounts_are_looked_after_from_the_machine(run: Run, tmp_path: Path) -> None:
    assert run("init").returncode == 0
    assert run("user", "add", "李书记", "--role", "leader").returncode == 0
    listed = run("user", "list").stdout.splitlines()
    assert [line.split()[:4] for line in listed] == [
        ["admin", "admin", "-", "in"], ["李书记", "leader", "-", "in"],
    ]  # fmt: skip
    assert run("user", "role", "李书记", "inspector").returncode == 0
    assert run("user", "disable", "李书记").returncode == 0
    assert "disabled" in run("user", "list").stdout
    assert run("user", "enable", "李书记").returncode == 0
    done = run("user", "password", "李书记")
    assert re.fullmatch(PASSWORD, done.stdout.splitlines()[-1])
    assert run("user", "reset-code", "李书记").returncode == 0
    assert run("user", "sign-out", "李书记").returncode == 0
    assert run("user", "second-step", "--from", "2030-01-01").returncode == 0
    assert run("user", "second-step", "--off").returncode == 0
    refused(run("user", "disable", "admin"), "last administrator")
    refused(run("user", "role", "admin", "clerk"), "last administrator")
    refused(run("user", "disable", "nobody"), "there is no account nobody")
    with contextlib.closing(sqlite3.connect(tmp_path / "server" / "server.db")) as raw:
        noted = raw.execute("SELECT what, target FROM audit_entry ORDER BY id").fetchall()
        rules = raw.execute("SELECT first_day, value, by FROM township_rule ORDER BY id").fetchall()
    assert ("account_role", "李书记: leader → inspector") in noted
    assert {"account_off", "account_on", "account_password"} <= {what for what, _ in noted}
    assert [value for _, value, _ in rules] == ['{"required":true}'] * 2 + ['{"required":false}']


def test_old_records_are_removed_from_the_machine(run: Run, tmp_path: Path) -> None:
    assert run("init").returncode == 0
    refused(run("prune", "--keep-days", "30"), "400 days are kept")
    done = run("prune", "--keep-days", "400")
    assert (done.returncode, done.stdout) == (0, "nothing is old enough to be removed\n")
    # A line of the trail two years ago and a checkpoint over it; another line and checkpoint now.
    config, then = ServerConfig(tmp_path / "server"), utcnow() - timedelta(days=730)
    database = Database(config)
    with database.transaction() as session:
        note_for(session, only_township(session).id, "command", "long ago", "", then)
        make_all(session, load_keys(config).sign_seed, then)
    database.close()
    assert run("user", "add", "李书记", "--role", "leader").returncode == 0
    assert run("checkpoint").returncode == 0
    done = run("prune", "--keep-days", "400")
    assert done.returncode == 0, done.stderr
    assert re.match(r"rows removed: 1; what was received before \d{4}-\d\d-\d\d", done.stdout)
    assert run("verify").stdout == "everything is consistent\n"
    assert run("prune", "--keep-days", "400", zh=True).stdout.startswith("清除 0 行")


def test_a_server_is_set_up_once(run: Run, tmp_path: Path) -> None:
    done = run("init", "--township", "青山乡")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(PASSWORD, done.stdout.splitlines()[-1])
    data = tmp_path / "server"
    for name in ("secret.key", "server.key", "server.db"):
        assert (data / name).stat().st_mode & 0o077 == 0
    before = (data / "server.key").read_bytes()
    refused(run("init"), "holds a server already")
    refused(run("init", zh=True), "已有服务器")
    assert (data / "server.key").read_bytes() == before
    code = run("code", "--kind", "kiosk", "--site", "杏树村", "--site-kind", "village")
    assert PairingCode.parse(code.stdout)
    assert len(code.stdout.splitlines()) == 1
    refused(run("code", "--kind", "kiosk"), "--site")
    refused(run("code", "--kind", "kiosk", "--site", "杏树村", "--site-kind", "office"), "village")
    address = ("--address", "https://192.168.1.10:8443")
    stick = run("code", "--kind", "kiosk", "--site", "杏树村", *address, "--file", str(tmp_path))
    assert len(stick.stdout.splitlines()) == 1  # the code and nothing else
    written = tmp_path / "quxiang-pair.json"
    assert json.loads(written.read_text()) == {
        "v": 1, "server": address[1], "code": stick.stdout.strip()
    }  # fmt: skip
    assert written.stat().st_mode & 0o077 == 0
    kiosk = ("code", "--kind", "kiosk", "--site", "杏树村")
    assert run(*kiosk, "--file", str(tmp_path)).returncode == 2
    refused(run(*kiosk, "--address", "zhen", "--file", str(tmp_path)), "https://")
    refused(run(*kiosk, *address, "--file", "/no/such/file"), "/no/such/file")
    user = run("user", "add", "wenshu", "--role", "clerk")
    assert re.fullmatch(PASSWORD, user.stdout.splitlines()[-1])
    refused(run("user", "add", "wenshu", "--role", "clerk"), "already")
    refused(run("user", "add", "wang", "--role", "leader", "--official", "w-1"), "w-1")
    secret = tmp_path / "password"
    secret.write_text("correct horse battery\n", encoding="utf-8")
    given = run("user", "add", "dudao", "--role", "inspector", "--password-file", str(secret))
    assert given.returncode == 0
    assert "correct" not in given.stdout
    secret.write_text("short\n", encoding="utf-8")
    refused(run("user", "add", "x", "--role", "admin", "--password-file", str(secret)), "12")
    refused(run("user", "add", "x", "--role", "admin", "--password-file", "/no/such"), "/no/such")


@pytest.mark.parametrize(
    "args",
    [[], ["nothing"], ["code"], ["code", "--kind", "toaster"], ["run", "--port", "70000"],
     ["user", "add", "x", "--role", "king"], ["device"], ["device", "settle"], ["witness"],
     ["backup"], ["demo", "--days", "0"]],
    ids=lambda args: "-".join(args) or "none",
)  # fmt: skip
def test_wrong_usage_exits_2(args: list[str], environ: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "server.cli", *args], capture_output=True, text=True, env=environ
    )
    assert done.returncode == 2
    assert "usage:" in done.stderr


def test_what_is_not_there_or_not_ours_gets_one_line(run: Run, tmp_path: Path) -> None:
    refused(run("run"), "quxiang-server init")
    refused(run("code", "--kind", "desk"), "quxiang-server init")
    refused(run("backup", str(tmp_path / "b.tar")), "quxiang-server init")
    assert run("init").returncode == 0
    database = tmp_path / "server" / "server.db"
    kept = database.read_bytes()
    with sqlite3.connect(database) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    for command in (["run"], ["code", "--kind", "desk"], ["verify"]):
        refused(run(*command), "newer release", "9999")
    database.write_bytes(b"not a database at all" * 100)
    refused(run("verify"), "server.db")
    database.unlink()
    refused(run("verify"), "restore")
    database.write_bytes(kept)
    assert run("verify").returncode == 0
    (tmp_path / "server" / "server.key").write_bytes(b"short")
    refused(run("verify"), "server.key")


def test_run_serves_and_ends_cleanly(run: Run, tmp_path: Path, environ: dict[str, str]) -> None:
    assert run("init").returncode == 0
    command = [sys.executable, "-m", "server.cli", "run", "--data", str(tmp_path / "server")]
    process = subprocess.Popen(
        [*command, "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:(\d+)", process.stdout.readline())
        assert found is not None
        assert requests.get(f"{found[0]}/healthz", timeout=10).json() == {"ok": True}
        assert requests.get(f"{found[0]}/board.json", timeout=10).json()["rows"] == []
        refused(run("run", "--port", found[1]), found[1], "--port")
        code = run("code", "--kind", "kiosk", "--site", "杏树村").stdout.strip()
        keys = DeviceKeys.generate()
        asked = wire.PairRequest(
            code=code, kind="kiosk", sign_key=to_text(keys.sign_public),
            box_key=to_text(keys.box_public),
        )  # fmt: skip
        answer = requests.post(found[0] + wire.PAIR, data=wire.encode(asked), timeout=10)
        assert answer.status_code == 200
        backup = tmp_path / "b.tar"
        assert run("backup", str(backup)).returncode == 0  # while it serves
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
        assert process.returncode == 0, error
        assert "Traceback" not in error
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    other = tmp_path / "other"
    restored = run("restore", str(backup), data=other)
    assert restored.returncode == 0
    made = datetime.fromtimestamp(backup.stat().st_mtime, SHANGHAI)
    assert f"made at {made:%Y-%m-%d}" in restored.stdout
    for what in ("device list", "user list", "revoke it again", "quxiang-enroll sync"):
        assert what in restored.stdout
    assert (other / "server.key").read_bytes() == (tmp_path / "server/server.key").read_bytes()
    assert run("verify", data=other).returncode == 0
    refused(run("restore", str(backup), data=other), "not empty")


def test_after_a_restore_people_are_told_what_to_look_at_in_both_languages(
    run: Run, tmp_path: Path
) -> None:
    assert run("init").returncode == 0
    assert run("backup", str(tmp_path / "b.tar")).returncode == 0
    told = []
    for folder, zh in (("zh", True), ("en", False)):
        said = run("restore", str(tmp_path / "b.tar"), data=tmp_path / folder, zh=zh)
        told.append(said.stdout.splitlines()[1:])
    assert [len(lines) for lines in told] == [5, 5]
    when = re.findall("20[0-9-]{8} [0-9:]{5}", told[0][0] + told[1][0])
    assert when[0] == when[1]
    ago = datetime.now(UTC) - datetime.fromisoformat(when[0]).replace(tzinfo=SHANGHAI)
    assert timedelta(0) < ago < timedelta(minutes=10)
    for zh, en in zip(*told, strict=True):
        for command in ("device list", "user list", "quxiang-enroll sync"):
            assert (command in zh) == (command in en)


def test_what_is_no_backup_is_not_restored(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "target"
    wrong = tmp_path / "x.tar"
    for make in (
        lambda: wrong.write_bytes(b""),
        lambda: wrong.write_bytes(b"x" * 5000),
        lambda: _tar(wrong, "../evil"),
        lambda: _tar(wrong, "server.db"),
        wrong.unlink,
    ):
        make()
        refused(run("restore", str(wrong), data=target), str(wrong))
        assert not target.exists()
    assert not (tmp_path / "evil").exists()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".restore")] == []


def _tar(path: Path, name: str) -> None:
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo(name)
        tar.addfile(info)


def test_the_demo_is_consistent_and_verify_names_what_was_changed(run: Run, tmp_path: Path) -> None:
    start = time.perf_counter()
    done = run("demo", "--officials", "9", "--sites", "4", "--days", "5")
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - start < 60
    assert "9 officials, 5 sites, 5 days" in done.stdout
    assert len(re.findall(PASSWORD, done.stdout)) == 5
    assert run("verify").returncode == 0
    assert "record" in run("verify", "--tables").stdout.split()
    database = tmp_path / "server" / "server.db"
    good = database.read_bytes()
    for sql, table, rowid, word in (
        ("UPDATE record SET official = 'QS-009' WHERE id = 3", "record", 3, "official"),
        ("UPDATE record SET payload = replace(payload, 'QS', 'QT') WHERE id = 3", "record", 3, ""),
        ("UPDATE record SET head = zeroblob(32) WHERE id = 3", "record", 3, "head"),
        ("UPDATE record SET verified = 1 - verified WHERE id = 3", "record", 3, "verified"),
        ("UPDATE record SET at_ms = latest_ms + 1 WHERE id = 3", "record", 3, "interval"),
        ("DELETE FROM record WHERE id = 3", "record", None, "missing"),
        ("UPDATE epoch SET cites = x'00' WHERE id = 1", "record", None, ""),
    ):
        with sqlite3.connect(database) as raw:
            for verb in ("update", "delete"):
                raw.execute(f"DROP TRIGGER {table}_no_{verb}")
            raw.execute("DROP TRIGGER IF EXISTS epoch_no_update")
            raw.execute(sql)
        raw.close()
        found = run("verify")
        assert found.returncode == 1, sql
        lines = [line.split(" ", 2) for line in found.stdout.splitlines()]
        assert any(
            line[0] == table and (rowid is None or line[1] == str(rowid)) and word in line[2]
            for line in lines
        ), (sql, found.stdout)
        assert len(found.stderr.splitlines()) == 1
        for line in run("verify", zh=True).stdout.splitlines():
            reason = line.split(" ", 2)[2]
            assert re.search("[一-鿿]", reason), line
        database.write_bytes(good)
    assert run("verify").returncode == 0
    refused(run("demo"), "another folder")


def test_the_database_is_kept_as_the_evidence_asks(tmp_path: Path) -> None:
    from server.config import make_keys
    from server.migrate import migrate
    from server.sqlite import LIBRARY

    config = ServerConfig(tmp_path / "server")
    make_keys(config)
    migrate(config)
    with sqlite3.connect(config.database_file) as raw:
        raw.execute("PRAGMA journal_mode = PERSIST")
    raw.close()
    migrate(config)
    database = Database(config)
    with database.session() as session:
        connection = session.connection()
        values = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    database.close()
    assert values == [LIBRARY.journal, LIBRARY.level, 1]


def test_wal_only_with_a_sqlite_that_is_mended(tmp_path: Path) -> None:
    from server.errors import DatabaseUnusable
    from server.sqlite import check_mode, choose

    for version, mode in (
        ((3, 40, 1), ("delete", "EXTRA")),
        ((3, 51, 2), ("delete", "EXTRA")),
        ((3, 51, 3), ("wal", "FULL")),
        ((3, 53, 4), ("wal", "FULL")),
    ):
        found = choose([(sqlite3, version)])
        assert (found.journal, found.synchronous) == mode
    assert choose([(sqlite3, (3, 40, 1)), (os, (3, 53, 4))]).module is os, "the newer one"
    with pytest.raises(DatabaseUnusable, match=r"3\.34\.0 is too old|3\.34\.0 太旧"):
        choose([(sqlite3, (3, 34, 0))])
    file = sqlite3.connect(tmp_path / "x.db")
    file.execute("PRAGMA synchronous = OFF")
    with pytest.raises(DatabaseUnusable, match="synchronous=0"):
        check_mode(file, choose([(sqlite3, (3, 40, 1))]))
    file.close()


def test_the_revisions_make_exactly_the_models(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    from server.config import make_keys
    from server.migrate import migrate
    from server.models import Base

    config = ServerConfig(tmp_path / "server")
    make_keys(config)
    migrate(config)
    database = Database(config)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    database.close()


def test_checkpoints_witnesses_and_devices_from_the_command_line(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "witness.json"
    for command in (["checkpoint"], ["witness", str(file)], ["device", "list"]):
        refused(run(*command), "quxiang-server init")
    assert run("demo", "--officials", "4", "--sites", "1", "--days", "2").returncode == 0
    first = run("checkpoint")
    assert first.stdout.startswith("checkpoint 1 over "), "the demo ends on one, nothing came since"
    listed = [line.split("\t") for line in run("device", "list").stdout.splitlines()]
    device = next(line for line in listed if line[1] == "kiosk" and line[2] == "杏树村")
    assert (len(listed), device[3]) == (3, "ok")
    assert run("witness", str(file)).returncode == 0
    assert run("verify", "--witness", str(file)).returncode == 0
    with sqlite3.connect(tmp_path / "server" / "server.db") as raw:
        seq, head = raw.execute(
            "SELECT seq, head FROM record WHERE device_id = ? ORDER BY epoch, seq LIMIT 1 OFFSET 1",
            device[:1],
        ).fetchone()
    code = head_code(head)
    found = run("device", "paper", device[0], f"{code[:4].lower()} {code[4:]}")
    assert (found.returncode, f"after record 1/{seq}, received 20" in found.stdout) == (0, True)
    assert f"与记录 1/{seq} 相符" in run("device", "paper", device[0], code, zh=True).stdout
    unknown = ("0" if code[0] != "0" else "1") + code[1:]
    refused(run("device", "paper", device[0], unknown), "no record of", "changed since")
    refused(run("device", "paper", device[0], "1234"), "eight characters")
    refused(run("device", "paper", "nobody00", code), "no kiosk nobody00")
    assert "was set aside" in run("device", "apart", device[0]).stdout
    assert "没有被搁置的记录" in run("device", "apart", device[0], zh=True).stdout
    refused(run("device", "apart", "nobody00"), "no kiosk nobody00")
    refused(run("device", "settle", device[0]), "nothing to settle")
    refused(run("device", "revoke", "nobody00"), "device list")
    assert run("device", "revoke", device[0]).returncode == 0
    assert "\trevoked\t" in run("device", "list").stdout
    assert run("device", "settle", device[0]).returncode == 0
    assert "checkpoint 2" in run("checkpoint").stdout, "what was done is in the audit trail"
    assert run("witness", str(file)).returncode == 0
    assert run("verify", "--witness", str(file)).returncode == 0
    assert {"checkpoint", "checkpoint_leaves"} <= set(run("verify", "--tables").stdout.split())
    with sqlite3.connect(tmp_path / "server" / "server.db") as raw:
        for table in ("checkpoint", "checkpoint_leaves"):
            raw.execute(f"DROP TRIGGER {table}_no_delete")
        raw.execute("DELETE FROM checkpoint_leaves WHERE checkpoint_id = 2")
        raw.execute("DELETE FROM checkpoint WHERE id = 2")
    raw.close()
    found = run("verify", "--witness", str(file))
    assert found.returncode == 1
    assert "checkpoint 2 the witness holds it, this database does not:" in found.stdout
    refused(run("witness", str(file)), "--witness")
    file.write_text("{}")
    refused(run("verify", "--witness", str(file)), "witness.json")
    file.unlink()
    refused(run("verify", "--witness", str(file)), "witness.json")
