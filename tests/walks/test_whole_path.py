"""From a frame to the supervisor's page, through the commands that users type.

Nothing is patched: a real clip of real faces, gpiozero's mock pins, real HTTP on loopback, real
databases. What the clip shows: official A, nobody, official B, nobody, a stranger, nobody.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from tests.walks.town import Town

SITE = "杏树村 Xingshu village"
A, B, C = "SAMPLE-A", "SAMPLE-B", "SAMPLE-C"
NAME = {A: "示例干部甲 Sample official A", B: "示例干部乙 Sample official B",
        C: "示例干部丙 Sample official C"}  # fmt: skip


def people(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "enrol/officials.csv").open(encoding="utf-8-sig", newline="") as stream:
        return {row["official"]: row for row in csv.DictReader(stream)}


def of(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == kind]


def sheet(town: Town) -> dict[str, dict[str, str]]:
    """The day page as CSV, by official."""
    text = town.supervisor().get(f"{town.url}/day.csv", timeout=60).content.decode("utf-8-sig")
    return {row["干部"]: row for row in csv.DictReader(io.StringIO(text))}


def test_from_frame_to_supervisor(town: Town, sample: Path) -> None:
    town.pair_kiosk("kiosk", SITE)
    assert town.status("kiosk")["gallery_version"] in (0, None), "waits for the desk"
    town.enrol(sample / "enrol")
    town.run("quxiang-kiosk", "sync", "--data", town.data("kiosk"))
    assert town.status("kiosk")["gallery_version"] > 0

    events = town.play("kiosk", sample / "footage.avi", "--liveness", "off", "--lamps", "rgb")

    assert [e["official"] for e in of(events, "checkin")] == [A, B], events
    assert {e["status"] for e in of(events, "checkin")} == {"in_village"}
    assert [e["reason"] for e in of(events, "refused")] == ["unknown"]
    lamps = {(e["official"], e["colour"], e["latched"]) for e in of(events, "lamp")}
    assert (A, "yellow", "yellow") in lamps, "the colour is read back from the pins"
    kinds = [e["event"] for e in events]
    assert kinds.index("checkin") < kinds.index("lamp", kinds.index("checkin"))
    assert of(events, "sync")[-1]["pending"] == 0
    assert not of(events, "fault")

    board = town.board()
    assert board[NAME[A]]["status"] == board[NAME[B]]["status"] == "in_village"
    assert board[NAME[C]]["status"] == "unknown"
    assert board[NAME[A]]["colour"] == "yellow"

    pin = people(sample)[C]["pin"]
    done = town.run("quxiang-kiosk", "checkin", "--official", C, "--pin-stdin", "--data",
                    town.data("kiosk"), stdin=f"{pin}\n")  # fmt: skip
    assert pin not in done.stdout + done.stderr
    town.run("quxiang-kiosk", "sync", "--data", town.data("kiosk"))
    assert town.board()[NAME[C]]["status"] == "in_village"

    day = town.supervisor().get(f"{town.url}/day", timeout=60)
    assert day.status_code == 200
    assert all(name in day.text for name in NAME.values())
    assert "活体" in day.text, "the sheet says that the liveness check was off"
    assert len(sheet(town)) == 3

    town.run("quxiang-kiosk", "verify", "--data", town.data("kiosk"))
    town.run("quxiang-server", "verify", "--data", town.data("server"))


def test_the_server_is_down_for_the_first_half(town: Town, sample: Path) -> None:
    town.pair_kiosk("kiosk", SITE)
    town.enrol(sample / "enrol")
    town.run("quxiang-kiosk", "sync", "--data", town.data("kiosk"))
    town.stop()

    events = town.play("kiosk", sample / "footage.avi", "--liveness", "off", "--lamps", "rgb")
    assert [e["official"] for e in of(events, "checkin")] == [A, B], "nobody is turned away"
    assert {e["latched"] for e in of(events, "lamp") if e["official"] == A} >= {"yellow"}
    held = town.status("kiosk")["pending"]
    assert held >= 2
    town.run("quxiang-kiosk", "sync", "--data", town.data("kiosk"), code=1)
    assert town.status("kiosk")["pending"] == held, "nothing is lost by trying"

    town.serve()
    assert town.board()[NAME[A]]["status"] == "unknown", "nothing reached the server yet"
    assert "缺勤" not in sheet(town)[NAME[A]].values(), (
        "nobody is absent before the records arrived"
    )
    again = town.play("kiosk", sample / "footage.avi", "--liveness", "off", "--lamps", "rgb")
    assert [e["official"] for e in of(again, "checkin")] == [A, B], "a new run records again"
    synced = of(again, "sync")[-1]
    assert synced["pending"] == 0
    assert sum(e["stored"] for e in of(again, "sync")) == held + 2
    assert sum(e["rejected"] for e in of(again, "sync")) == 0
    assert town.board()[NAME[A]]["status"] == "in_village"
    town.run("quxiang-server", "verify", "--data", town.data("server"))


def test_a_withdrawal_reaches_the_kiosk_and_is_proved(town: Town, sample: Path) -> None:
    town.pair_kiosk("kiosk", SITE)
    town.enrol(sample / "enrol")
    town.run("quxiang-kiosk", "sync", "--data", town.data("kiosk"))
    before = town.status("kiosk")["gallery_version"]
    town.run("quxiang-enroll", "withdraw", A, "--data", town.data("enroll"))
    town.run("quxiang-kiosk", "sync", "--data", town.data("kiosk"))
    assert town.status("kiosk")["gallery_version"] > before
    town.run("quxiang-kiosk", "sync", "--data", town.data("kiosk"))
    receipt = town.run("quxiang-enroll", "sync", "--data", town.data("enroll"))
    assert A in receipt.stdout, "the desk names the receipt"

    events = town.play("kiosk", sample / "footage.avi", "--liveness", "off")
    assert [e["official"] for e in of(events, "checkin")] == [B]
    assert [e["reason"] for e in of(events, "refused")] == ["unknown", "unknown"]

    pin = people(sample)[A]["pin"]
    town.run("quxiang-kiosk", "checkin", "--official", A, "--pin-stdin", "--data",
             town.data("kiosk"), stdin=f"{pin}\n")  # fmt: skip
    assert town.status("kiosk")["pending"] == 1, "without a face the PIN has equal standing"
