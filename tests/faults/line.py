"""A bad line, a bad server: answers lost after the commit, workers killed, the database restarted.

Four kiosks' records are written beforehand, and the whole township is copied. One copy uploads in
peace; the other through a proxy that loses, cuts, doubles and delays, while workers are killed and
the server (with `--mode postgres` its database too) is restarted. In the end both servers must hold
the same, byte for byte. `--times` is the number of records of a kiosk.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import create_engine, text

from attendance.errors import QuxiangError
from attendance.records import decode_record
from kiosk.clock import SystemClock
from kiosk.config import DATABASE, VAULT, KioskConfig, load_config, load_keys
from kiosk.exchange import SyncClient
from kiosk.store import Store
from kiosk.vault import Vault
from server.config import ServerConfig
from tests.faults.proxy import Proxy
from tests.faults.rig import Cannot, checkin, main, need, served, workers_of
from tests.walks.town import Town

KIOSKS = 4
#: Below so many records of a kiosk two kiosks must do, so that a test is short.
LONG = 30
SMALL = 3
"""Records of one upload here, so that many uploads meet a fault."""
SHARE = 0.35
HURT_EVERY_S = 0.7
#: Seconds in which all must have left: 60 records of each take 35 on idle cores.
LIMIT_S = 600
#: What a server holds in the end; of the devices only what their chains came to.
STATE = (
    "SELECT device_id, epoch, seq, record_id, payload, head FROM record ORDER BY 1, 2, 3",
    "SELECT device_id, epoch, cites FROM epoch ORDER BY 1, 2",
    "SELECT id, epoch, seq, head, fork_ms, revoked_ms FROM device ORDER BY 1",
    "SELECT count(*) FROM rejected_record",
    "SELECT count(*) FROM quarantined",
)


class Small(Store):
    """A kiosk's store that uploads few records at once."""

    def batch(self, after_epoch: int, after_seq: int, limit: int = SMALL) -> Any:
        return super().batch(after_epoch, after_seq, min(limit, SMALL))


def state(config: ServerConfig) -> list[list[tuple[Any, ...]]]:
    """Everything that must be the same."""
    engine = create_engine(config.url)
    try:
        with engine.connect() as db:
            return [[_plain(row) for row in db.execute(text(query))] for query in STATE]
    finally:
        engine.dispose()


def _plain(row: Any) -> tuple[Any, ...]:
    return tuple(bytes(cell) if isinstance(cell, memoryview) else cell for cell in row)


def upload(folder: Path, url: str, until: float, tries: list[int]) -> None:
    """Exchanges until nothing waits."""
    config: KioskConfig = msgspec.structs.replace(load_config(folder), server=url)
    with Small.open(folder / DATABASE, config.device) as store:
        client = SyncClient(config, load_keys(folder), store, Vault(folder / VAULT), SystemClock())
        while store.pending() and time.monotonic() < until:
            tries[0] += 1
            with contextlib.suppress(QuxiangError):
                client.exchange()
        client.close()


class Hurt:
    """Kills workers, restarts the server and its database, until it is left.

    `passed` counts what was answered: nothing is hurt again before something got through, or on a
    busy machine nothing ever would.
    """

    def __init__(self, town: Town, cluster: Any, passed: Callable[[], int], seed: int = 4) -> None:
        self.kills = self.restarts = self.databases = 0
        self._town = town
        self._cluster = cluster
        self._passed = passed
        self._rng = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.broke: BaseException | None = None

    def __enter__(self) -> Hurt:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        turn, seen = 0, -1
        try:
            while not self._stop.wait(self._rng.uniform(0.3, 1) * HURT_EVERY_S):
                if self._passed() == seen:
                    continue
                turn, seen = turn + 1, self._passed()
                if turn % 5 == 4:
                    self._restart()
                elif turn % 5 == 2 and self._cluster is not None:
                    self._cluster.stop("immediate")
                    self._cluster.start()
                    self.databases += 1
                else:
                    self._kill()
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            self.broke = error

    def _kill(self) -> None:
        server = self._town.server
        workers = workers_of(server.pid) if server is not None else []
        if workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._rng.choice(workers), signal.SIGKILL)
                self.kills += 1

    def _restart(self) -> None:
        """As the power of the township's PC: master and workers at once."""
        server = self._town.server
        assert server is not None
        for pid in (server.pid, *workers_of(server.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        server.wait()
        self._town.server = None
        self._town.serve()
        self.restarts += 1


def run(times: int, mode: str = "sqlite") -> str:
    """`times` records of each kiosk; the line to print. Raises Broken and Cannot."""
    with contextlib.ExitStack() as stack:
        cluster = _cluster(stack) if mode == "postgres" else None
        url = cluster.new() if cluster is not None else None
        town = stack.enter_context(served(url, workers=2))
        kiosks = []
        count = KIOSKS if times >= LONG else 2
        for number in range(count):
            town.pair_kiosk(f"kiosk{number}", f"村{number}")
            folder = town.folder / f"kiosk{number}"
            kiosks.append(folder)
            with Store.open(folder / DATABASE, load_config(folder).device) as store:
                for each in range(times):
                    store.record(checkin(each), SystemClock().read())
        town.stop()
        calm = Town(town.folder / "calm", town.port, town.environ, workers=2)
        for folder in (*kiosks, town.folder / "server"):
            shutil.copytree(folder, calm.folder / folder.name)
        if cluster is not None and url is not None:
            calm.database, town.database = cluster.new(like=url), url
            (calm.folder / "server" / "database.url").write_text(calm.database + "\n")
        calm.serve()
        _drain(calm, calm.url, [calm.folder / folder.name for folder in kiosks])
        calm.stop()

        town.serve()
        tries = [0]
        with (
            Proxy(town.port, share=SHARE) as proxy,
            Hurt(town, cluster, lambda: proxy.down) as hurt,
        ):
            tries = _drain(town, proxy.url, kiosks)
        if hurt.broke is not None:
            raise hurt.broke
        town.stop()
        peace, war = (state(ServerConfig(Path(t.data("server")), t.database)) for t in (calm, town))
        need(len(peace[0]) == count * times, f"in peace the server holds {len(peace[0])} records")
        for query, one, other in zip(STATE, peace, war, strict=True):
            need(one == other, f"another end: {len(one)} rows against {len(other)}: {query}")
        ids = {decode_record(row[4]).record_id for row in war[0]}
        need(len(ids) == count * times, "a record twice")
        town.run("quxiang-server", "verify", "--data", town.data("server"))
    befell = ", ".join(f"{what} {count}" for what, count in sorted(proxy.befell.items()))
    databases = f", {hurt.databases} of its database" if cluster is not None else ""
    return (
        f"{mode}: {count} kiosks x {times} records in {tries[0]} exchanges; {befell}; "
        f"{hurt.kills} workers killed, {hurt.restarts} restarts of the server{databases}: "
        "the end is the same as in peace, 0 lost, 0 twice"
    )


def _drain(town: Town, url: str, kiosks: list[Path]) -> list[int]:
    tries = [0]
    until = time.monotonic() + LIMIT_S
    threads = [threading.Thread(target=upload, args=(k, url, until, tries)) for k in kiosks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for folder in kiosks:
        with Store.open(folder / DATABASE, load_config(folder).device) as store:
            waiting = store.pending()
            need(waiting == 0, f"after {LIMIT_S} s {waiting} records still wait in {folder.name}")
    return tries


def _cluster(stack: contextlib.ExitStack) -> Any:
    """A PostgreSQL of its own that keeps what it has committed."""
    import pytest

    try:
        from tests.postgres import Cluster

        cluster = Cluster(fsync="on", synchronous_commit="on", full_page_writes="on")
    except (ImportError, pytest.skip.Exception) as error:
        raise Cannot(f"no PostgreSQL to restart: {error}") from error
    stack.callback(cluster.close)
    return cluster


if __name__ == "__main__":
    main(__doc__, run, 60, "records of a kiosk", modes=("sqlite", "postgres"))
