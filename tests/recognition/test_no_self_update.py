"""Templates change at the enrolment desk and nowhere else."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np

from recognition.decision import Match
from recognition.engine import Engine
from recognition.gallery import Gallery
from recognition.recogniser import Recogniser


def test_recognising_somebody_leaves_the_gallery_as_it_was(clips, templates, sface: Engine) -> None:
    """Not even a hundred good looks at a match teach it anything."""
    clip = clips[-1]
    gallery = Gallery(sface.model_id, sface.dimension)
    gallery.replace(list(templates.items()))
    probes = [t[0].copy() for t in templates.values()]
    before = [gallery.search(p) for p in probes]
    count = gallery.template_count
    with Recogniser(sface, gallery, "off") as recogniser:
        seen = [recogniser.observe(f, i / clip.fps, i) for i, f in enumerate(clip.frames)]
    assert isinstance(seen[-1].decision, Match)
    assert gallery.template_count == count
    assert [gallery.search(p) for p in probes] == before
    assert all(np.array_equal(p, t[0]) for p, t in zip(probes, templates.values(), strict=True))


def test_only_what_the_desk_sent_fills_the_kiosks_gallery(root: Path) -> None:
    """In kiosk/, `Gallery.replace` is called only where the loop reads the desk's sealed gallery,
    and nothing there makes an embedding but `doctor`, which times one of noise and drops it."""
    fills, embeds = [], []
    for path in sorted((root / "kiosk").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            owner = ast.unparse(node.func.value)
            if node.func.attr == "replace" and "gallery" in owner.lower():
                fills.append(path.name)
            if node.func.attr == "embed":
                embeds.append(path.relative_to(root).as_posix())
    assert set(fills) == {"upkeep.py"}
    assert embeds == ["kiosk/checks/recognition.py"]
