"""axe-core in a page: what keeps people out who do not see, hear, point or read as others do."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

#: WCAG 2.2 A and AA, and what axe's makers call good practice.
RUN = """async () => {
  const found = await axe.run(document, {resultTypes: ["violations"]});
  return found.violations
    .filter(v => ["serious", "critical"].includes(v.impact))
    .map(v => `${v.impact} ${v.id}: ${v.help} at `
      + v.nodes.slice(0, 3).map(n => n.html.slice(0, 160)).join(" | "));
}"""


@lru_cache(maxsize=1)
def _source() -> str:
    pytest.importorskip("axe_playwright_python", reason="axe-core is not installed")
    return files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")


def troubles(page: Page) -> list[str]:
    """Serious and critical findings in what the page shows now."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(_source() + "\n;0")
    found: list[str] = page.evaluate(RUN)
    return found
