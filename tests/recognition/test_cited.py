"""A constant's cited figure and docs/accuracy.md say the same, or this is red."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

THRESHOLDS = (
    # Module; what its threshold cites; the page's row; the columns cited, in that order.
    ("sface", r"FPIR (.+?) and TPIR (.+?) at a gallery of 36, 3 photographs each",
     "sface 0.50, LFW, N = 36, 3 photographs", ("FPIR", "TPIR")),
    ("sface", r"On 182 East Asian people at 0.45: FPIR (.+?);",
     "sface 0.45, 182 East Asian people, 1 photograph", ("FPIR",)),
    ("sface", r"at 0.50, 40 East Asian adults in hard poses: FPIR (.+?), TPIR (.+?)\.(?: |$)",
     "sface 0.50, the same", ("FPIR", "TPIR")),
    ("sface", r"OpenCV's own 0.363 gives FPIR (.+?)\.(?: |$)",
     "sface 0.363 (OpenCV's own), the same", ("FPIR",)),
    ("dlib_engine", r"At 0.45: TPIR (.+?), FPIR (.+?) at a gallery of 36, 3 photographs, LFW",
     "dlib 0.953 (distance 0.45), LFW, 3 photographs", ("TPIR", "FPIR")),
    ("dlib_engine", r"FPIR (\S+ %) there among 40 East Asian adults",
     "dlib 0.953, 40 East Asian adults, 3 photographs", ("FPIR",)),
)  # fmt: skip
FIGURE = re.compile(r"\d+(?:\.\d+)? %|\b\d[\d,]* of \d[\d,]*\d")
SELF_EVIDENT = {"95 %", "0.1 %"}
"""The confidence of every interval, and the rate that a report is said to be able to show."""


def cited(source: str) -> str:
    """The docstrings of a module's constants, in one line."""
    told = re.findall(r'^[A-Z][A-Z_0-9, ]* (?::[^=]*)?= [^"]*?\n"""(.*?)"""', source, re.S | re.M)
    return " ".join(" ".join(told).split())


def row_of(page: str, label: str) -> dict[str, str]:
    """TPIR and FPIR of a row of "Cited by the thresholds"."""
    part = page.split("## Cited by the thresholds", 1)[1].split("\n## ", 1)[0]
    line = next(line for line in part.splitlines() if line.startswith(f"| {label} |"))
    _, tpir, fpir = (cell.strip() for cell in line.strip().strip("|").split("|"))
    return {"TPIR": tpir, "FPIR": fpir}


def disagreements(name: str, source: str, page: str) -> list[str]:
    """What the constants of module `name` cite and the page does not say."""
    words = cited(source)
    flat = " ".join(page.split())
    wrong = [
        figure
        for figure in FIGURE.findall(words)
        if figure not in SELF_EVIDENT and not re.search(rf"(?<![\d.,]){re.escape(figure)}", flat)
    ]
    for module, pattern, label, columns in THRESHOLDS:
        if module == name:
            found = re.search(pattern, words)
            told = found.groups() if found else ("nothing",) * len(columns)
            row = row_of(page, label)
            wrong += [
                f"{label}: {said} instead of {row[column]}"
                for said, column in zip(told, columns, strict=True)
                if said != row[column]
            ]
    return wrong


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs" / "accuracy.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def sources(root: Path) -> dict[str, str]:
    """Modules of recognition by name."""
    files = sorted((root / "recognition").glob("*.py"))
    return {file.stem: file.read_text(encoding="utf-8") for file in files}


def test_what_constants_cite_stands_on_the_page(page: str, sources: dict[str, str]) -> None:
    wrong = {name: disagreements(name, source, page) for name, source in sources.items()}
    assert {name: told for name, told in wrong.items() if told} == {}
    figures = [f for source in sources.values() for f in FIGURE.findall(cited(source))]
    assert len(figures) >= 20, "the docstrings are found at all"


@pytest.mark.parametrize(("module", "pattern", "label", "columns"), THRESHOLDS)
def test_changing_either_side_is_red(
    page: str,
    sources: dict[str, str],
    module: str,
    pattern: str,
    label: str,
    columns: tuple[str, ...],
) -> None:
    """Each figure of a threshold altered, in the code and on the page, to another of the page."""
    source = sources[module]
    flat = " ".join(source.split())
    found = re.search(pattern, flat)
    assert found is not None
    for figure, column in zip(found.groups(), columns, strict=True):
        whole = found.group().replace(figure, "3.4 %", 1)
        words = re.escape(found.group()).replace(r"\ ", r"\s+")
        altered = re.sub(words, lambda _, whole=whole: whole, source)
        assert altered != source
        assert disagreements(module, altered, page), figure
        line = next(s for s in page.splitlines() if s.startswith(f"| {label} |"))
        cells = row_of(page, label) | {column: "3.4 %"}
        other = page.replace(line, f"| {label} | {cells['TPIR']} | {cells['FPIR']} |")
        assert disagreements(module, source, other), figure
