"""Who may import whom, and what an import may cost."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = {"attendance", "recognition", "hardware", "enroll", "kiosk", "server"}
MAY: dict[str, set[str]] = {
    "attendance": set(),
    "recognition": set(),
    "hardware": set(),
    "enroll": {"attendance", "recognition", "hardware"},
    "kiosk": {"attendance", "recognition", "hardware"},
    "server": {"attendance"},
}
#: The server runs where there is no OpenCV.
SERVER_NEVER = {"cv2", "numpy", "dlib", "gpiozero", "face_recognition"}
#: The shared package does no input or output and has no third party but codec and signatures.
ATTENDANCE_ONLY = {"msgspec", "nacl"}


def imports_of(path: Path) -> set[str]:
    """Top-level names that a module imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute, so that this test can read them"
            found.add((node.module or "").split(".")[0])
    return found


@pytest.mark.parametrize("package", sorted(OURS))
def test_imports_run_one_way(package: str) -> None:
    modules = sorted((ROOT / package).rglob("*.py"))
    assert modules, "the package is there"
    for path in modules:
        foreign = imports_of(path) & OURS - {package}
        assert foreign <= MAY[package], f"{path.relative_to(ROOT)} imports {foreign}"


def test_the_server_needs_no_vision() -> None:
    for path in (ROOT / "server").rglob("*.py"):
        assert not imports_of(path) & SERVER_NEVER, path


def test_the_rules_know_no_database_and_no_request() -> None:
    for path in (ROOT / "server" / "rules").rglob("*.py"):
        third = imports_of(path) - set(sys.stdlib_module_names) - {"attendance", "server"}
        assert third <= {"msgspec", "chinese_calendar"}, f"{path}: {third}"
        inside = [line for line in path.read_text(encoding="utf-8").splitlines()
                  if line.lstrip().startswith(("from server", "import server"))]  # fmt: skip
        assert all("from server.rules" in line for line in inside), f"{path}: {inside}"


def test_every_service_stands_in_a_room() -> None:
    """Where a service belongs is said by its folder: fifty in one would be a hall."""
    services = ROOT / "server" / "services"
    assert [path.name for path in services.glob("*.py")] == ["__init__.py"]
    rooms = [path for path in services.iterdir() if (path / "__init__.py").exists()]
    assert len(rooms) > 5
    for room in rooms:
        assert len(list(room.glob("*.py"))) <= 12, f"{room.name} holds more than one thing"


def test_the_shared_package_stays_pure() -> None:
    for path in (ROOT / "attendance").rglob("*.py"):
        third = imports_of(path) - set(sys.stdlib_module_names) - {"attendance"}
        assert third <= ATTENDANCE_ONLY, f"{path}: {third}"
        assert not imports_of(path) & {"socket", "sqlite3", "pathlib", "subprocess"}, path


def test_command_lines_start_without_models_or_devices() -> None:
    """`--help` of every command loads neither a neural network nor a pin driver."""
    program = (
        "import json, sys\n"
        "import attendance.wire, kiosk.cli, enroll.cli, server.cli, recognition.cli\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    loaded = set(json.loads(done.stdout))
    assert not loaded & {"dlib", "face_recognition", "face_recognition_models", "lgpio", "RPi"}
    assert "cv2" not in loaded, "importing costs nothing: open OpenCV where a picture is read"


def test_modules_can_be_read_at_one_sitting() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for package in [*OURS, "scripts"]
        for path in (ROOT / package).rglob("*.py")
        # A migration is a list of tables, written once and never changed.
        if "versions" not in path.parts
        and (lines := len(path.read_text(encoding="utf-8").splitlines())) > 450
    }
    assert not long, long
