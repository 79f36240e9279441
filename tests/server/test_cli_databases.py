"""The commands on PostgreSQL, and a township that moves there and back."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import requests
from sqlalchemy import make_url

from server.config import ServerConfig, load_keys, stored_url
from server.db import Database, encrypted, power_cut_warning
from server.demo import make_demo
from server.errors import DatabaseUnusable
from server.models import Base
from server.services.evidence.verify import verify
from server.transfer import MOVED, copy_into
from tests.postgres import Cluster
from tests.server.conftest import MORNING
from tests.server.test_cli import Run, refused, run

__all__ = ["run"]


def rows(config: ServerConfig) -> dict[str, list[tuple[object, ...]]]:
    """Everything there is, by table, but for who works in the background just now."""
    database = Database(config)
    with database.engine.connect() as connection:
        found = {
            table.name: sorted((tuple(row) for row in connection.execute(table.select())), key=repr)
            for table in Base.metadata.sorted_tables
            if table.name != "lease"
        }
    database.close()
    return found


@pytest.mark.parametrize(
    ("url", "mode"),
    [
        ("postgresql+psycopg://u@db.county.example/q", "verify-full"),
        ("postgresql+psycopg://u@10.1.2.3:5432/q", "verify-full"),
        ("postgresql+psycopg://u@/q?host=/run/postgresql", None),
        ("postgresql+psycopg://u@localhost/q", None),
        ("postgresql+psycopg://u@127.0.0.1/q", None),
        ("postgresql+psycopg://u@/q?host=/run/postgresql&host=10.1.2.3", "verify-full"),
        ("postgresql+psycopg://u@10.1.2.3/q?sslmode=require", "require"),
        ("postgresql+psycopg://u@10.1.2.3/q?sslmode=disable", "disable"),
    ],
)
def test_a_database_elsewhere_is_asked_in_cipher(url: str, mode: str | None) -> None:
    assert encrypted(url).query.get("sslmode") == mode


@pytest.mark.parametrize("mode", ["prefer", "allow"])
def test_no_way_of_asking_falls_back_to_plain_words(mode: str) -> None:
    with pytest.raises(DatabaseUnusable, match="verify-full"):
        Database(ServerConfig(Path(), f"postgresql://u@db.county.example/q?sslmode={mode}"))


@pytest.mark.parametrize(
    ("chosen", "kept"),
    [(None, "on"), ("off", "on"), ("on", "on"), ("local", "local"),
     ("remote_write", "remote_write"), ("remote_apply", "remote_apply")],
)  # fmt: skip
@pytest.mark.parametrize("of", ["DATABASE", "ROLE"])
def test_what_is_acknowledged_is_on_disk(
    postgres: Cluster, tmp_path: Path, chosen: str | None, kept: str, of: str
) -> None:
    url = postgres.new()  # of a cluster that does not wait for its disk, unless it is told to
    name = make_url(url).database if of == "DATABASE" else "quxiang"
    with psycopg.connect(url, autocommit=True) as raw:
        assert raw.execute("SHOW synchronous_commit").fetchone() == ("off",)
        if chosen is not None:
            raw.execute(f'ALTER {of} "{name}" SET synchronous_commit = {chosen}')
    try:
        database = Database(ServerConfig(tmp_path, url))
        for _ in range(2):
            with database.transaction() as session:
                shown = session.connection().exec_driver_sql("SHOW synchronous_commit").scalar()
                assert shown == kept
        database.close()
    finally:
        with psycopg.connect(url, autocommit=True) as raw:
            raw.execute(f'ALTER {of} "{name}" RESET synchronous_commit')
        postgres.drop(url)


def test_a_cluster_that_a_power_cut_harms_is_told_of(
    postgres: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loose = ServerConfig(tmp_path, postgres.new())
    monkeypatch.setenv("QUXIANG_LANG", "en")
    assert "set it to on in postgresql.conf" in (power_cut_warning(loose) or "")
    monkeypatch.setenv("QUXIANG_LANG", "zh")
    assert "fsync、full_page_writes 为 off" in (power_cut_warning(loose) or "")
    assert power_cut_warning(ServerConfig(tmp_path)) is None
    firm = Cluster(fsync="on", full_page_writes="on")
    try:
        assert power_cut_warning(ServerConfig(tmp_path, firm.new())) is None
    finally:
        firm.close()


def sound(config: ServerConfig) -> bool:
    database = Database(config)
    try:
        with database.session() as session:
            return list(verify(session, load_keys(config).sign_public)) == []
    finally:
        database.close()


def test_every_command_finds_the_database_that_init_was_told(
    run: Run, postgres: Cluster, tmp_path: Path
) -> None:
    url = postgres.new()
    assert run("init", "--database", url).returncode == 0
    data = tmp_path / "server"
    assert not (data / "server.db").exists()
    assert (data / "database.url").stat().st_mode & 0o077 == 0
    assert run("code", "--kind", "kiosk", "--site", "杏树村").returncode == 0
    assert run("user", "add", "wenshu", "--role", "clerk").returncode == 0
    assert run("checkpoint").stdout.startswith("checkpoint 1 over ")
    assert run("witness", str(tmp_path / "w.json")).returncode == 0
    assert run("verify", "--witness", str(tmp_path / "w.json")).returncode == 0
    assert len(run("device", "list").stdout.splitlines()) == 0
    refused(run("init", "--database", url), "holds a server already")
    refused(run("init", "--database", url, data=tmp_path / "other"), "make an empty one")
    assert not (tmp_path / "other").exists()
    gone = postgres.url("nowhere")
    refused(run("init", "--database", gone, data=tmp_path / "other"), "PostgreSQL", "nowhere")
    assert not (tmp_path / "other").exists()
    refused(run("verify", "--database", "mysql://x"), "postgresql://")
    with psycopg.connect(url, autocommit=True) as raw:
        raw.execute("SET session_replication_role = replica")
        raw.execute("UPDATE audit_entry SET target = 'x' WHERE id = 1")
    done = run("verify")
    assert done.stdout.startswith("audit_entry 1 it was changed after checkpoint 1")
    assert done.returncode == 1


def test_the_first_run_on_postgresql_moves_the_township_in(
    run: Run, postgres: Cluster, tmp_path: Path, environ: dict[str, str]
) -> None:
    assert run("demo", "--officials", "6", "--sites", "2", "--days", "2").returncode == 0
    data, url = tmp_path / "server", postgres.new()
    before = rows(ServerConfig(data))
    command = [sys.executable, "-m", "server.cli", "run", "--data", str(data), "--port", "0",
               "--database", url]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=environ)  # fmt: skip
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None
        assert len(requests.get(f"{found[0]}/board.json", timeout=10).json()["rows"]) == 6
        # While it serves: one file, in the one form.
        assert run("backup", str(tmp_path / "b.tar")).returncode == 0
    finally:
        process.terminate()
        _, error = process.communicate(timeout=30)
    assert "moved" in error
    assert error.count("warning: PostgreSQL runs with fsync and full_page_writes off") == 1
    assert process.returncode == 0
    assert (data / MOVED).exists()
    assert stored_url(data) == url
    assert rows(ServerConfig(data, url)) == before
    assert run("verify").returncode == 0
    assert run("user", "add", "later", "--role", "clerk").returncode == 0, "ids go on"
    for other, place in (("sqlite", None), ("postgresql", postgres.new())):
        folder = tmp_path / other
        where = [] if place is None else ["--database", place]
        assert run("restore", str(tmp_path / "b.tar"), *where, data=folder).returncode == 0
        after = rows(ServerConfig(folder, place))
        *trail, told = after.pop("audit_entry")
        sealed = [seal for seal in after["row_seal"] if seal in before["row_seal"]]
        assert {**after, "audit_entry": trail, "row_seal": sealed} == before
        assert "restore" in told
        assert len(after["row_seal"]) == len(sealed) + 1, "of what was told"
        assert run("verify", data=folder).returncode == 0
        assert run("checkpoint", data=folder).returncode == 0
    refused(run("restore", str(tmp_path / "b.tar"), "--database", url, data=tmp_path / "third"),
            "make an empty one")  # fmt: skip
    assert not (tmp_path / "third").exists()


def test_a_copy_is_sound_and_none_is_made_over_another(postgres: Cluster, tmp_path: Path) -> None:
    here = ServerConfig(tmp_path / "here")
    list(make_demo(here, 5, 2, 2, MORNING))
    there = ServerConfig(tmp_path / "here", postgres.new())
    count = copy_into(here, there)
    assert count == sum(map(len, rows(here).values()))
    assert sound(there)
    with pytest.raises(FileExistsError, match="empty"):
        copy_into(here, there)
