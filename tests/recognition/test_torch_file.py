"""Files that pretend to be the liveness weights: none runs anything, none fills the memory, each is
one sentence."""

from __future__ import annotations

import io
import pickle
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recognition.errors import WeightsCorrupt
from recognition.minifasnet import load_network
from recognition.torch_file import MAGIC, MAX_BYTES, PROTOCOL, read_state_dict

HEAD = b"".join(pickle.dumps(each, 2) for each in (MAGIC, PROTOCOL, {"little_endian": True}))


class Named:
    """Pickled as a name and what it is called with."""

    def __init__(self, module: str, name: str, *args: Any) -> None:
        self.module, self.name, self.args = module, name, args


class Storage:
    """Pickled as a reference to a storage."""

    def __init__(self, key: str, size: Any, kind: str = "FloatStorage") -> None:
        self.key, self.size, self.kind = key, size, kind


def opcodes(value: Any) -> bytes:
    """`value` as the opcodes of a pickle, with names of modules that need not exist."""
    if isinstance(value, Named):
        named = f"c{value.module}\n{value.name}\n".encode()
        return named + opcodes(tuple(value.args)) + b"R"
    if isinstance(value, Storage):
        kind = f"ctorch\n{value.kind}\n".encode()
        rest = b"".join(opcodes(each) for each in (value.key, "cpu", value.size))
        return b"(" + opcodes("storage") + kind + rest + b"tQ"
    if isinstance(value, tuple):
        return b"(" + b"".join(map(opcodes, value)) + b"t"
    if isinstance(value, dict):
        pairs = b"".join(opcodes(k) + opcodes(v) + b"s" for k, v in value.items())
        return b"}" + pairs
    return pickle.dumps(value, 2)[2:-1]  # without its beginning and its end


def tensor(storage: Any, offset: Any, shape: Any, stride: Any) -> Named:
    return Named(
        "torch._utils", "_rebuild_tensor_v2", storage, offset, shape, stride, False, OrderedDict()
    )


def file_of(state: Any, *storages: tuple[str, bytes], head: bytes = HEAD) -> bytes:
    """A state dictionary of one storage or more, float32."""
    out = head + b"\x80\x02" + opcodes(state) + b"." + pickle.dumps([k for k, _ in storages], 2)
    return out + b"".join(struct.pack("<q", len(data) // 4) + data for _, data in storages)


FOUR = np.arange(4, dtype="<f4").tobytes()


def zipped(size: int, cut: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * size)
    return out.getvalue()[: cut or None]


def chain(mark: Path) -> Named:
    """getattr(__import__("os"), "system")("touch mark")"""
    return Named("builtins", "getattr", Named("builtins", "__import__", "os"), "system")


HOSTILE: dict[str, Callable[[Path], bytes]] = {
    "os.system": lambda mark: file_of({"w": Named("os", "system", f"touch {mark}")}),
    "posix.system": lambda mark: file_of({"w": Named("posix", "system", f"touch {mark}")}),
    "eval": lambda mark: file_of({"w": Named("builtins", "eval", f"open({str(mark)!r}, 'w')")}),
    "a chain of getattr": lambda mark: file_of({"w": chain(mark)}),
    "a name with dots": lambda mark: (
        HEAD + b"\x80\x04\x8c\x0bcollections\x8c\x1eOrderedDict.__init__.__class__\x93)R."
    ),
    "in the first pickle": lambda mark: (
        b"\x80\x02" + opcodes(Named("os", "system", f"touch {mark}")) + b"."
    ),
    "in the keys": lambda mark: (
        HEAD + pickle.dumps({}, 2) + b"\x80\x02" + opcodes(Named("os", "system", f"touch {mark}"))
        + b"."
    ),
    "a name with dots, in the old way": lambda mark: (
        HEAD + b"\x80\x02ccollections\nOrderedDict.__init__.__globals__\n)R."
    ),
    "an extension code": lambda mark: HEAD + b"\x80\x02\x82\x01.",
    "a state that is set": lambda mark: (
        HEAD + b"\x80\x02" + opcodes(tensor(Storage("0", 4), 0, (2,), (1,))) + b"}b."
        + pickle.dumps([], 2)
    ),
    "a storage that says more than it holds": lambda mark: file_of(
        {"w": tensor(Storage("0", 4000), 0, (2,), (1,))}, ("0", FOUR)
    ),
    "a storage larger than any": lambda mark: file_of(
        {"w": tensor(Storage("0", 10**12), 0, (2,), (1,))}, ("0", FOUR)
    ),
    "a storage of less than nothing": lambda mark: file_of(
        {"w": tensor(Storage("0", -4), 0, (2,), (1,))}, ("0", FOUR)
    ),
    "a storage in a storage": lambda mark: file_of(
        {"w": tensor(Storage("0", Storage("1", 4)), 0, (2,), (1,))}, ("0", FOUR)
    ),
    "a tensor in a tensor": lambda mark: file_of(
        {"w": tensor(tensor(Storage("0", 4), 0, (2,), (1,)), 0, (2,), (1,))}, ("0", FOUR)
    ),
    "a tensor over the end": lambda mark: file_of(
        {"w": tensor(Storage("0", 4), 2, (4,), (1,))}, ("0", FOUR)
    ),
    "a tensor before the beginning": lambda mark: file_of(
        {"w": tensor(Storage("0", 4), -1, (2,), (1,))}, ("0", FOUR)
    ),
    "a thousand million numbers": lambda mark: file_of(
        {"w": tensor(Storage("0", 4), 0, (10**9,), (0,))}, ("0", FOUR)
    ),
    "many views of one storage": lambda mark: file_of(
        {n: tensor(Storage("0", 1 << 20), 0, (1 << 20,), (1,)) for n in range(17)},
        ("0", bytes(4 << 20)),
    ),
    "a shape below nothing": lambda mark: file_of(
        {"w": tensor(Storage("0", 4), 0, (-2,), (1,))}, ("0", FOUR)
    ),
    "a shape that is no shape": lambda mark: file_of(
        {"w": tensor(Storage("0", 4), 0, ("two",), (1,))}, ("0", FOUR)
    ),
    "strides of another length": lambda mark: file_of(
        {"w": tensor(Storage("0", 4), 0, (2, 2), (1,))}, ("0", FOUR)
    ),
    "a storage that was never named": lambda mark: file_of({}, ("7", FOUR)),
    "no tensors at all": lambda mark: file_of({"w": 7}),
    "no dictionary": lambda mark: file_of((1, 2, 3)),
    "no word of the byte order": lambda mark: file_of({}, head=HEAD[:-1].split(b"}")[0] + b"}."),
    "a string of 8 GiB": lambda mark: HEAD + b"\x80\x04\x8e" + struct.pack("<Q", 8 << 30) + b"x",
    "a frame of 2 EiB": lambda mark: HEAD + b"\x80\x04\x95" + struct.pack("<Q", 2 << 60) + b"x",
    "a memo place of 4 milliards": lambda mark: (
        HEAD + b"\x80\x02}r" + struct.pack("<I", (1 << 32) - 1) + b"."
    ),
    "a memo place of a hundred million": lambda mark: (
        HEAD + b"\x80\x02}r" + struct.pack("<I", 10**8) + b"."
    ),
    "lists in lists": lambda mark: HEAD + b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".",
    "the format after 1.6": lambda mark: zipped(1000, 0),
    "a zip that was cut off": lambda mark: zipped(100_000, 60),
    "a zip bomb": lambda mark: zipped(200 << 20, 0),
    "nothing": lambda mark: b"",
    "a text": lambda mark: "不是参数文件\n第二行".encode(),
}  # fmt: skip


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What each file brings up, in one process whose memory is bounded: 300 MB above what the
    imports take."""
    folder = tmp_path_factory.mktemp("hostile")
    for number, make in enumerate(HOSTILE.values()):
        (folder / f"{number:03}.pth").write_bytes(make(folder / "ran"))
    program = (
        "import re, resource, sys, recognition.minifasnet as m; from pathlib import Path\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (300 << 20),) * 2)\n"
        "for path in sorted(Path(sys.argv[1]).glob('*.pth')):\n"
        "    try:\n"
        "        m.read_state_dict(path)\n"
        "        print('READ')\n"
        "    except Exception as error:\n"
        "        said = repr(str(error)), repr(error.words('zh'))\n"
        "        print(type(error).__name__, *said, sep='\\t')\n"
        # Not ru_maxrss, which is that of the parent where it was larger.
        "print(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=True
    )
    assert not (folder / "ran").exists(), "nothing in a file is ever run"
    *lines, kilobytes = done.stdout.splitlines()
    assert int(kilobytes) < 400_000
    return {name: line.split("\t") for name, line in zip(HOSTILE, lines, strict=True)}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_one_sentence(judged: dict[str, list[str]], name: str) -> None:
    kind, english, chinese = judged[name]
    assert kind == "WeightsCorrupt"
    assert "is not a state dictionary" in english
    assert "不是 PyTorch 的参数文件" in chinese
    assert "\\n" not in english + chinese
    assert len(english) < 500


def test_a_good_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "good.pth"
    path.write_bytes(file_of({"w": tensor(Storage("0", 4), 1, (1, 3), (3, 1))}, ("0", FOUR)))
    (read,) = read_state_dict(path).values()
    assert read.tolist() == [[1, 2, 3]]


def test_a_file_that_is_too_large_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "large.pth"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(WeightsCorrupt, match="too large"):
        read_state_dict(path)


@pytest.mark.parametrize("shape", [(4,), (1, 4), (4, 1, 1, 1)])
def test_tensors_of_another_network_are_one_sentence(
    tmp_path: Path, shared_models: Path, shape: tuple[int, ...]
) -> None:
    path = tmp_path / "other.pth"
    stride = tuple(np.empty(shape, np.float32).strides[n] // 4 for n in range(len(shape)))
    names = read_state_dict(next(shared_models.glob("*MiniFASNetV2*")))
    state = {name: tensor(Storage("0", 4), 0, shape, stride) for name in names}
    for wrong in (state, {"w": tensor(Storage("0", 4), 0, shape, stride)}):
        path.write_bytes(file_of(wrong, ("0", FOUR)))
        with pytest.raises(WeightsCorrupt, match="network") as caught:
            load_network(path)
        assert "\n" not in str(caught.value)
