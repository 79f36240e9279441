"""The page that a supervisor reads."""

from __future__ import annotations

import re
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from recognition.report_page import figures, page, write_page
from recognition.statistics import rate_of, wilson


def a_report(alarms: int = 1) -> dict[str, Any]:
    return {
        "engine": "sface",
        "model_id": "sface-0123",
        "threshold": 0.5,
        "verification": {"eer": rate_of(2, 400)},
        "identification": {
            "gallery_size": 36,
            "enrolled_photos": 3,
            "fpir": rate_of(alarms, 290),
            "tpir": rate_of(260, 262),
            "wrong_id": rate_of(0, 262),
        },
        "acquisition": {"fte": rate_of(0, 58), "fta": rate_of(3, 290)},
        "pad": {
            "passive_networks": False,
            "apcer": {"<printed>": rate_of(0, 45)},
            "bpcer": rate_of(1, 45),
        },
        "false_detections": None,
    }


class Outline(HTMLParser):
    """Open elements, and whatever the page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        self.fetched += [v or "" for k, v in attrs if k in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_every_rate_stands_there_in_both_languages_with_n_and_interval() -> None:
    report = a_report()
    text = page(report, date(2026, 11, 22), {})
    for figure in figures(report):
        assert figure.en.replace("<", "&lt;").replace(">", "&gt;") in text
        if figure.rate is not None:
            assert f'<td data-of="n">{figure.rate["n"]}</td>' in text
    assert "99.24%" in text
    assert "262 个中有 260 个" in text
    assert "260 of 262" in text
    assert "Of 1,000 check-ins of enrolled people about 992" in text
    low, high = wilson(260 / 262, 262)
    assert f"{low:.1%} – {high:.2%}" in text
    assert "未测 not measured" in text, "what was not measured is said, not left out"
    assert "2026-11-22" in text


def test_the_page_is_self_contained_and_well_formed(tmp_path: Path) -> None:
    (tmp_path / "det.png").write_bytes(b"\x89PNG")
    path = write_page(tmp_path, a_report(), date(2026, 11, 22))
    outline = Outline()
    outline.feed(path.read_text(encoding="utf-8"))
    assert outline.open == []
    assert outline.fetched == ["data:image/png;base64,iVBORw=="]
    assert "<printed>" not in path.read_text(encoding="utf-8"), "a folder's name is not markup"


@pytest.mark.parametrize(("alarms", "n"), [(0, 290), (1, 290)])
def test_few_pictures_are_called_few(alarms: int, n: int) -> None:
    text = page(a_report(alarms), date(2026, 11, 22), {})
    assert re.search(rf"at most about {300 / n:.2f}%", text)
    assert "liveness networks were missing" in text


def test_groups_and_tracks_have_their_own_part_and_small_ones_are_called_so() -> None:
    report = a_report()
    part = {name: rate_of(0, 12) for name in ("fpir", "wrong_id")} | {"tpir": rate_of(11, 12)}
    alone = {"alone": {"fpir": rate_of(0, 5)}}
    report["identification"]["groups"] = {"<东亚>": {"people": 3, **part, **alone}}
    report["identification"]["tracks"] = {"looks": 8, **part}
    text = page(report, date(2026, 11, 22), {})
    assert "Of these: &lt;东亚&gt; (3 people)" in text
    assert text.count("11 of 12") == 2
    assert "0 of 5" in text
    assert text.count("too few to tell") == 7
    assert "too few to tell" not in page(a_report(), date(2026, 11, 22), {})


def test_without_identification_the_page_says_so() -> None:
    report = a_report() | {"identification": None}
    assert "Identification was not measured" in page(report, date(2026, 11, 22), {})
