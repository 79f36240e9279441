"""Tensors out of a PyTorch state dictionary (the format before 1.6), without PyTorch.

A pickle can run any code that it names, so this unpickler knows five names and refuses the rest;
the caller checks the file's SHA-256 first all the same.
"""

from __future__ import annotations

import math
import os
import pickle  # nosec B403 # nothing is run of it
import pickletools  # nosec B403 # nothing is run of it
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from recognition.errors import WeightsCorrupt

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
_DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
MAX_BYTES = 64 * 1024 * 1024
"""Of the file, and of its tensors together: a small file may name one storage many times, or view
one number as a thousand million (a stride of nought). The pinned files have less than 2 MB."""
_NAMES = (
    "PROTO STOP MARK GLOBAL REDUCE BUILD BINPERSID EMPTY_DICT SETITEM SETITEMS EMPTY_LIST APPEND "
    "APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 BINUNICODE BININT BININT1 BININT2 LONG1 NONE "
    "NEWTRUE NEWFALSE BINPUT LONG_BINPUT BINGET LONG_BINGET"
)
_OPCODES = frozenset(_NAMES.split())
"""What such pickles are written with."""
MAX_PLACES = 1 << 16
"""Places of the unpickler's memory, whose table grows to the highest that is named; the pinned
files use 3,691."""
_FAULTS = (
    *(pickle.UnpicklingError, EOFError, LookupError, ArithmeticError),
    *(ValueError, TypeError, AttributeError, MemoryError, RecursionError),
)
"""What a pickle of any bytes may bring up."""


class _Storage:
    """A flat array that tensors are views of; filled after the pickle was read."""

    def __init__(self, dtype: np.dtype[Any], size: int) -> None:
        self.dtype = dtype
        self.size = size
        self.data: NDArray[Any] = np.zeros(0, dtype)


class _Tensor:
    """A view that is made once its storage is filled."""

    def __init__(self, storage: _Storage, offset: int, shape: Any, stride: Any, *_: Any) -> None:
        self.storage, self.offset = storage, int(offset)
        self.shape, self.stride = tuple(map(int, shape)), tuple(map(int, stride))

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.storage.dtype.itemsize

    def array(self) -> NDArray[Any]:
        last = self.offset + sum(
            (n - 1) * s for n, s in zip(self.shape, self.stride, strict=True) if n
        )
        if self.offset < 0 or min((*self.stride, 0)) < 0 or last >= len(self.storage.data):
            raise pickle.UnpicklingError("a tensor reaches over the end of its storage")
        item = self.storage.dtype.itemsize
        view = np.lib.stride_tricks.as_strided(
            self.storage.data[self.offset :], self.shape, [s * item for s in self.stride]
        )
        return np.ascontiguousarray(view)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Tensor
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} has no business in a state dictionary")

    def persistent_load(self, pid: Any) -> Any:
        kind, dtype, key, _, size, *_ = pid
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise pickle.UnpicklingError("not a storage")
        if not 0 <= int(size) * dtype.itemsize <= MAX_BYTES:
            raise pickle.UnpicklingError("a storage of unlikely size")
        return self.storages.setdefault(str(key), _Storage(dtype, int(size)))


def read_state_dict(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of `path` by name: float32 or int64 arrays. Raises WeightsCorrupt."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size > MAX_BYTES:
                raise ValueError("too large")
            return _read(file)
    except _FAULTS as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise WeightsCorrupt(
            f"{path} is not a state dictionary of PyTorch: {why}",
            f"{path} 不是 PyTorch 的参数文件：{why}",
        ) from None


def _load(file: BinaryIO, unpickler: _Unpickler | None = None) -> Any:
    """The next pickle of `file`, its opcodes looked at before any is obeyed."""
    start = file.tell()
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name not in _OPCODES:
            raise pickle.UnpicklingError(f"{opcode.name} has no business in a state dictionary")
        if opcode.name == "LONG_BINPUT" and not 0 <= int(argument or 0) < MAX_PLACES:
            raise pickle.UnpicklingError("a place of unlikely number")
    file.seek(start)
    return (unpickler or _Unpickler(file)).load()


def _read(file: BinaryIO) -> dict[str, NDArray[Any]]:
    if _load(file) != MAGIC or _load(file) != PROTOCOL:
        raise ValueError("wrong magic number")
    system = _load(file)
    if not system["little_endian"]:
        raise ValueError("big-endian")
    unpickler = _Unpickler(file)
    state = _load(file, unpickler)
    keys = _load(file)
    for key in keys:
        storage = unpickler.storages[str(key)]
        (size,) = np.frombuffer(file.read(8), "<i8")
        data = file.read(storage.size * storage.dtype.itemsize)
        if size != storage.size or len(data) != storage.size * storage.dtype.itemsize:
            raise ValueError("the file was cut off")
        storage.data = np.frombuffer(data, storage.dtype)
    if sum(tensor.nbytes for tensor in state.values()) > MAX_BYTES:
        raise ValueError("tensors of unlikely size")
    return {str(name): tensor.array() for name, tensor in state.items()}
