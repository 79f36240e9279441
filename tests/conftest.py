"""Fixtures that every package's tests share."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests import ports
from tests.postgres import Cluster

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


# A busy machine is no fault of the code's; what has to be quick measures it by itself.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

#: Begun first when files run side by side: what is begun last keeps one worker.
LONG = ("walks", "faults", "recognition", "attacks", "enroll", "kiosk")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The folders of long tests before the others; within them, files with many tests first."""
    tests = Counter(item.path for item in items)

    def place(item: pytest.Item) -> tuple[int, int, str]:
        folder = item.path.parent.name
        rank = LONG.index(folder) if folder in LONG else len(LONG)
        return rank, -tests[item.path], str(item.path)

    items.sort(key=place)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real pictures and clips to develop against; never part of the project."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("the pictures and clips to develop against (../shared/data) are not here")
    return folder


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """Liveness weights that no registry carries."""
    folder = SHARED / "models"
    if not any(folder.glob("*.pth")):
        pytest.skip("the liveness weights (../shared/models) are not here")
    return folder


@pytest.fixture
def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on."""
    return ports.free_port()


def plain_environ() -> dict[str, str]:
    """See `environ`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("QUXIANG_", "LC_", "LANG"))}
    return {**kept, "QUXIANG_LANG": "en", "GPIOZERO_PIN_FACTORY": "mock", "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def environ() -> dict[str, str]:
    """The environment for commands that a test starts: English, mock pins, nothing inherited."""
    return plain_environ()


#: Makes a database, empty or like another one: its URL, or None where that is the SQLite file.
NewDatabase = Callable[..., str | None]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL that only this run uses."""
    cluster = Cluster()
    yield cluster
    cluster.close()


def _a_file(like: str | None = None) -> None:
    """The SQLite file needs no address."""


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest) -> NewDatabase:
    """Whoever asks for this, by itself or through `office` or `world`, runs on both databases."""
    if request.param == "sqlite":
        return _a_file
    cluster: Cluster = request.getfixturevalue("postgres")
    return cluster.new


FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, one for the whole run; each test opens a context of its own."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium on this machine: browser tests need it")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield opened
        opened.close()
