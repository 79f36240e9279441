"""kill -9 of a kiosk that records and uploads, at random moments, against a real server.

Every kill strikes a process that opens the store (recovering the log of the one before), records,
and syncs in a second thread, as `quxiang-kiosk run` does. What it was told to be recorded is
written into a pipe, which outlives it.
"""

from __future__ import annotations

import functools
import random
import time
from pathlib import Path

from tqdm import tqdm

from kiosk.clock import SystemClock
from kiosk.site import Site
from kiosk.sync import SyncLoop
from tests.faults.rig import (
    SEED,
    Recorder,
    Tell,
    Told,
    check_server,
    checkin,
    main,
    need,
    served,
    void,
)

#: Told where an exchange with the server has ended; no record has an epoch 0.
SYNCED = (0, 0, "synced")


def record_for_ever(folder: Path, seed: int, tell: Tell) -> None:
    """The process that is killed."""
    rng = random.Random(seed)
    clock = SystemClock()
    with Site(folder) as site:
        loop = SyncLoop(site.client(clock), lambda _: tell(*SYNCED), void, interval_s=0.02)
        loop.start()
        while True:
            record = site.store.record(checkin(rng.randrange(36)), clock.read()).record
            tell(record.epoch, record.seq, record.record_id)
            loop.poke()
            time.sleep(rng.uniform(0, 0.02))


def run(times: int, seed: int = SEED) -> str:
    """`times` kills; the line to print. Raises Broken."""
    rng = random.Random(seed)
    told: set[Told] = set()
    exchanges = 0
    with served() as town:
        town.pair_kiosk("kiosk", "石桥村")
        folder = town.folder / "kiosk"
        for number in tqdm(range(times), disable=None, unit="kill"):
            recorder = Recorder(functools.partial(record_for_ever, folder, seed + number))
            # At any moment from the start on, while it is certainly recording, and while it goes on
            # after an exchange with the server.
            if number % 3 == 2:
                need(recorder.wait_for(SYNCED.__eq__, 30), "the server was not heard for 30 s")
            recorder.watch(rng.uniform(0, 0.15), first=number % 3 == 0)
            need(recorder.kill() == -9, "the recorder ended by itself")
            need(number % 3 == 1 or bool(recorder.told), "nothing could be recorded within 10 s")
            told |= {each for each in recorder.told if each != SYNCED}
            exchanges += recorder.told.count(SYNCED)
        with Site(folder) as site:
            device = site.config.device
            uploaded = site.store.pending()
            client = site.client(SystemClock())
            report = client.exchange()
            client.close()
            count = site.store.verify()
        need(report.pending == 0, f"{report.pending} records would not leave the outbox")
        town.run("quxiang-kiosk", "verify", "--data", str(folder))
        check_server(town, device, told, count)
    return (
        f"{times} kills between {exchanges} exchanges with the server: {len(told)} acknowledged of "
        f"{count} recorded, {uploaded} still waiting at the end; 0 lost, 0 twice on the server, "
        "both chains sound"
    )


if __name__ == "__main__":
    main(__doc__, run, 15, "kills")
