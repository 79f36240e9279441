"""Makes the key that signs releases, and signed release files for kiosks (deploy/make-bundle.sh).

The maker needs a network: wheels come from the package index. Kiosks never do.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from nacl.signing import SigningKey

from attendance.release import Head, ReleaseManifest, make_head
from attendance.signing import KEY_BYTES, from_text, to_text
from recognition.weights import LIVENESS_SET, SFACE_SET, find_weights

ROOT = Path(__file__).resolve().parents[1]
#: glibc of bookworm is 2.36, that of trixie 2.41; wheels ask for the older ones.
GLIBC = range(36, 16, -1)
#: Markers like platform_machine are judged by pip for the machine that it runs on, so what only
#: the target needs is named here.
ONLY_ON = {("aarch64", "3.11"): ["lgpio>=0.2.2,<0.3"]}
MACHINES = ("aarch64", "x86_64")
UNPACKED = 4
"""Installed, with byte code, a release takes at most so many times its payload (2.9 measured)."""


def make_key(path: Path) -> None:
    """A new signing key: the seed in `path` (0600), the public half in `path`.pub."""
    seed = SigningKey.generate()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(to_text(bytes(seed)) + "\n")
    path.with_name(path.name + ".pub").write_text(to_text(bytes(seed.verify_key)) + "\n")


def read_key(path: Path) -> bytes:
    """The 32-byte seed of a key file."""
    return from_text(path.read_text("ascii").strip(), KEY_BYTES)


def pip(*arguments: str) -> None:
    """pip, quietly; its own words where it fails."""
    subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *arguments], check=True
    )


def own_wheel(folder: Path) -> Path:
    """This checkout as a wheel."""
    pip("wheel", "--no-deps", "-w", str(folder), str(ROOT))
    return next(folder.glob("quxiang-*.whl"))


def fetch_wheels(folder: Path, extra: str, machine: str, pythons: list[str]) -> None:
    """Everything that `quxiang[extra]` needs on that machine, for every version, and pip itself."""
    own = own_wheel(folder)
    tags = [f"manylinux_2_{minor}_{machine}" for minor in GLIBC]
    platforms = [f"--platform={tag}" for tag in [*tags, f"manylinux2014_{machine}"]]
    for python in pythons:
        only = ONLY_ON.get((machine, python), []) if extra == "kiosk" else []
        wanted = [f"quxiang[{extra}] @ {own.as_uri()}", "pip", *only]
        pip("download", "--only-binary=:all:", "-d", str(folder), "--find-links", str(folder),
            "--python-version", python, *platforms, *wanted)  # fmt: skip


def copy_weights(folder: Path) -> list[str]:
    """The pinned weights that are to be had; the names of those that are not."""
    found = find_weights(None, (*SFACE_SET, *LIVENESS_SET))
    for pinned in SFACE_SET:
        found.path(pinned)  # without these no face is compared: told here, not in a village
    for name, path in found.paths.items():
        (folder / name).write_bytes(path.read_bytes())
    return [pinned.name for pinned in found.missing]


def pack(folder: Path) -> bytes:
    """`wheels/` and `models/` as a tar; the same files give the same bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                info = tarfile.TarInfo(path.relative_to(folder).as_posix())
                info.size, info.mode = path.stat().st_size, 0o644
                with path.open("rb") as file:
                    tar.addfile(info, file)
    return out.getvalue()


def write_release(
    out: Path, seed: bytes, payload: bytes, *, number: int, version: str, machine: str,
    pythons: list[str], room: int | None = None,
) -> Path:  # fmt: skip
    """The signed file; where it lies."""
    manifest = ReleaseManifest(
        number=number,
        version=version,
        made_ms=time.time_ns() // 1_000_000,
        machine=machine,
        python=pythons,
        size=len(payload),
        sha256=hashlib.sha256(payload).hexdigest(),
        room=room or UNPACKED * len(payload),
    )
    head: Head = make_head(seed, manifest)
    path = out / f"quxiang-{number}-{machine}.qxr"
    path.write_bytes(head.text + payload)
    return path


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    key = commands.add_parser("key", help="make a signing key: FILE and FILE.pub")
    key.add_argument("file", type=Path)
    build = commands.add_parser("build", help="make a signed release")
    build.add_argument("--key", type=Path, required=True)
    build.add_argument("--number", type=int, required=True)
    build.add_argument("--machine", choices=MACHINES, required=True)
    build.add_argument("--python", action="append", required=True, metavar="3.11")
    build.add_argument("--out", type=Path, required=True)
    wheels = commands.add_parser("wheels", help="only the wheels of a role, into a folder")
    wheels.add_argument("--extra", required=True)
    wheels.add_argument("--machine", choices=MACHINES, required=True)
    wheels.add_argument("--python", action="append", required=True, metavar="3.11")
    wheels.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if args.command == "key":
        make_key(args.file)
        print(f"{args.file} signs: keep it off every kiosk and server; {args.file}.pub is pinned")
    elif args.command == "wheels":
        args.out.mkdir(parents=True, exist_ok=True)
        fetch_wheels(args.out, args.extra, args.machine, args.python)
    else:
        seed = read_key(args.key)
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            (place / "wheels").mkdir()
            (place / "models").mkdir()
            fetch_wheels(place / "wheels", "kiosk", args.machine, args.python)
            lacking = copy_weights(place / "models")
            version = next((place / "wheels").glob("quxiang-*.whl")).name.split("-")[1]
            args.out.mkdir(parents=True, exist_ok=True)
            path = write_release(
                args.out, seed, pack(place), number=args.number, version=version,
                machine=args.machine, pythons=args.python,
            )  # fmt: skip
        for name in lacking:
            print(f"without {name}: everybody will be asked to turn the head")
        print(f"{path}: {path.stat().st_size >> 20} MB")


if __name__ == "__main__":
    main()
