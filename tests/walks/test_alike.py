"""Two enrolled people whom the model cannot tell apart, from the desk to the record.

One person's two photographs under two ids stand for twins: closer than the threshold by nature.
"""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

from tests.walks.test_whole_path import SITE, of, people, sheet
from tests.walks.town import Town

A, B, TWIN = "SAMPLE-A", "SAMPLE-B", "SAMPLE-T"


def with_twin(sample: Path, folder: Path) -> Path:
    """The sample's enrolment folder, A's second photograph under another id with another PIN."""
    shutil.copytree(sample / "enrol", folder)
    rows = list(people(sample).values())
    twin = dict(
        next(r for r in rows if r["official"] == A), official=TWIN, name="孪生", pin="271828"
    )
    with (folder / "officials.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(twin))
        writer.writeheader()
        writer.writerows([*rows, twin])
    (folder / TWIN).mkdir()
    (folder / A / "2.jpg").rename(folder / TWIN / "2.jpg")
    return folder


def imported(town: Town, folder: Path, *more: str) -> dict[str, Any]:
    """What the desk reports of each official."""
    file = town.folder / "alike.json"
    town.run("quxiang-enroll", "import", str(folder), "--data", town.data("enroll"),
             "--json", str(file), *more)  # fmt: skip
    return {row["official"]: row for row in json.loads(file.read_text())["officials"]}


def test_twins_are_told_at_the_desk_and_need_their_pins_at_the_kiosk(
    town: Town, sample: Path, tmp_path: Path
) -> None:
    town.pair_kiosk("kiosk", SITE)
    folder = with_twin(sample, tmp_path / "enrol")

    first = imported(town, folder)
    assert (first[A]["face"], first[TWIN]["face"]) == ("enrolled", "none")
    assert "--allow-similar" in json.dumps(first[TWIN]), "what to do is said with the refusal"
    second = imported(town, folder, "--allow-similar")
    assert second[TWIN]["face"] == "enrolled"
    assert [s["official"] for s in second[TWIN]["similar"] if s["collides"]] == [A]
    third = imported(town, folder)
    assert {who: third[who]["second_factor"] for who in (A, B, TWIN)} == {
        A: True, B: False, TWIN: True,
    }  # fmt: skip

    town.run("quxiang-kiosk", "sync", "--data", town.data("kiosk"))
    events = town.play("kiosk", sample / "footage.avi", "--liveness", "off")
    assert [e["official"] for e in of(events, "checkin")] == [B], "the face alone records neither"
    assert [e["reason"] for e in of(events, "refused")] == ["ambiguous", "unknown"]
    assert A not in json.dumps(of(events, "refused")), "nobody's name goes with a refusal"

    pin = people(sample)[A]["pin"]
    kiosk = ("--pin-stdin", "--data", town.data("kiosk"))
    town.run("quxiang-kiosk", "checkin", "--official", TWIN, *kiosk, stdin=f"{pin}\n", code=1)
    town.run("quxiang-kiosk", "checkin", "--official", A, *kiosk, stdin=f"{pin}\n")
    town.run("quxiang-kiosk", "sync", "--data", town.data("kiosk"))
    came = {name: row for name, row in sheet(town).items() if "下乡" in row.values()}
    assert len(came) == 2
    assert "孪生" not in came
    town.run("quxiang-kiosk", "verify", "--data", town.data("kiosk"))
