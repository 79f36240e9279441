"""A month offline over a thin line: `--times` records drained at 64 kbit/s by a real server.

A village of 30 people records 200 times a day; then the link comes back. Goals for 6,000 records:
under 60 s and under 0.5 MB on the link, both ways and all of HTTP counted.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import msgspec

from attendance.statuses import Kind, Method, Status
from kiosk.clock import SystemClock
from kiosk.drafts import Draft
from kiosk.fakes import FakeClock
from kiosk.site import Site
from tests.faults.proxy import Proxy
from tests.faults.rig import check_server, main, need, served

BITS_PER_S = 64_000
A_DAY = 200
MOST_S = 60.0
MOST_BYTES = 500_000
WHOLE = 6_000
"""Records of the goals; of another number the same share is allowed, and five seconds and 20 kB."""


def month(folder: Path, times: int) -> None:
    """Records as a village makes them, none like the other."""
    rng = random.Random(times)
    clock = FakeClock(wall_ms=SystemClock().read().wall_ms - times // A_DAY * 86_400_000)
    with Site(folder) as site:
        for number in range(times):
            clock.advance(rng.uniform(1, 2 * 86_400 / A_DAY))
            clock.boottime_ns += rng.randrange(1_000_000)
            site.store.record(
                Draft(
                    kind=Kind.CHECKOUT if number % 5 == 4 else Kind.CHECKIN,
                    official=f"A-{rng.randrange(30) + 1}",
                    status=Status.LEFT if number % 5 == 4 else Status.IN_VILLAGE,
                    method=Method.FACE,
                    score=round(rng.gauss(0.65, 0.05), 6),
                    margin=round(rng.uniform(0.1, 0.4), 6),
                    liveness="live",
                    model="sface",
                    gallery=3,
                ),
                clock.read(),
            )


def run(times: int) -> str:
    """`times` records over the thin line; the line to print. Raises Broken."""
    with served() as town:
        town.pair_kiosk("kiosk", "石桥村")
        folder = town.folder / "kiosk"
        month(folder, times)
        with Proxy(town.port, bits_per_s=BITS_PER_S) as proxy, Site(folder) as site:
            site.config = msgspec.structs.replace(site.config, server=proxy.url)
            client = site.client(SystemClock())
            began = time.monotonic()
            report = client.exchange()
            seconds = time.monotonic() - began
            client.close()
            used = proxy.up + proxy.down
            told = {(1, seq, _id(site, seq)) for seq in range(1, times + 1)}
        need(report.pending == 0, f"{report.pending} records would not leave the outbox")
        check_server(town, site.config.device, told, times)
        share = times / WHOLE
        need(seconds < MOST_S * share + 5 * (share < 1), f"it took {seconds:.1f} s")
        need(used < MOST_BYTES * share + 20_000 * (share < 1), f"{used} bytes on the link")
    return (
        f"{times} records over {BITS_PER_S // 1000} kbit/s: {seconds:.1f} s, {proxy.up} bytes up, "
        f"{proxy.down} down, {used / times:.1f} a record; 0 lost, 0 twice"
    )


def _id(site: Site, seq: int) -> str:
    from attendance.records import decode_record

    batch = site.store.batch(1, seq - 1, 1)
    assert batch is not None
    return decode_record(batch.payloads[0]).record_id


if __name__ == "__main__":
    main(__doc__, run, WHOLE, "records")
