"""Just enough of ONNX to hand a network to OpenCV: a graph of nodes and float tensors as bytes.

Field numbers are those of onnx.proto3 (ONNX 1.x, Apache-2.0); opset 11.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Attribute = float | int | Sequence[int]


def _varint(value: int) -> bytes:
    out = bytearray()
    while True:
        part, value = value & 0x7F, value >> 7
        out.append(part | (0x80 if value else 0))
        if not value:
            return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(data)) + data


class Graph:
    """A network that is built node by node; `add` returns the name of the node's output."""

    def __init__(self, name: str, input_shape: Sequence[int]) -> None:
        self.name = name
        self.input_shape = tuple(input_shape)
        self._nodes: list[bytes] = []
        self._tensors: list[bytes] = []
        self._count = 0

    def tensor(self, values: NDArray[np.floating]) -> str:
        """A constant; returns its name."""
        self._count += 1
        name = f"w{self._count}"
        data = np.ascontiguousarray(values, "<f4")
        dims = b"".join(_number(1, n) for n in data.shape)
        self._tensors.append(dims + _number(2, 1) + _bytes(8, name) + _bytes(9, data.tobytes()))
        return name

    def add(self, kind: str, inputs: Sequence[str], **attributes: Attribute) -> str:
        """A node of type `kind`; returns the name of its output."""
        self._count += 1
        name = f"{kind.lower()}{self._count}"
        body = b"".join(_bytes(1, i) for i in inputs) + _bytes(2, name) + _bytes(3, name)
        body += _bytes(4, kind)
        for key, value in attributes.items():
            body += _bytes(5, _attribute(key, value))
        self._nodes.append(body)
        return name

    def serialise(self, output: str, output_shape: Sequence[int]) -> bytes:
        """The model's bytes; its input is called `input`."""
        graph = b"".join(_bytes(1, node) for node in self._nodes) + _bytes(2, self.name)
        graph += b"".join(_bytes(5, tensor) for tensor in self._tensors)
        graph += _bytes(11, _value("input", self.input_shape))
        graph += _bytes(12, _value(output, output_shape))
        opset = _bytes(1, "") + _number(2, 11)
        return _number(1, 6) + _bytes(7, graph) + _bytes(8, opset)


def _attribute(name: str, value: Attribute) -> bytes:
    head = _bytes(1, name)
    if isinstance(value, float):
        return head + _varint(2 << 3 | 5) + struct.pack("<f", value) + _number(20, 1)
    if isinstance(value, int):
        return head + _number(3, value) + _number(20, 2)
    return head + b"".join(_number(8, v) for v in value) + _number(20, 7)


def _value(name: str, shape: Sequence[int]) -> bytes:
    dims = b"".join(_bytes(1, _number(1, n)) for n in shape)
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, 1) + _bytes(2, dims)))
