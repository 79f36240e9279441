"""Passive presentation-attack detection: the two MiniFASNet networks (Silent-Face-Anti-Spoofing,
Apache-2.0), built from their PyTorch state dictionaries into OpenCV's DNN, averaged.

Measured in November 2026 (design notes on recognition) with the box remapped as below, 404 genuine
frames, 433 printed photographs, 7 screen clips: APCER 0 % printed, 0 % screen; BPCER 0 and 1.5 %.
These sets flatter it: where the attacker hides the edge of the paper or the telephone a quarter of
the attacks pass. That is what the challenge is for.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from recognition.engine import quiet_opencv
from recognition.errors import WeightsCorrupt
from recognition.onnx_bytes import Graph
from recognition.pictures import as_frame
from recognition.torch_file import read_state_dict
from recognition.types import Face, Frame
from recognition.weights import LIVENESS_SET, MINIFASNET_V1SE, MINIFASNET_V2, find_weights

SIDE = 80
GENUINE_CLASS = 1
BOX_WIDTH, BOX_HEIGHT, BOX_DOWN = 1.143, 0.877, 0.058
"""YuNet's box into that of the detector the networks were trained with: width, height, and how far
the centre moves down, in heights. Without it BPCER is 14.9 %, with it 0 (printed photographs, 404
genuine frames, November 2026; design notes on recognition)."""
NETWORKS = ((MINIFASNET_V2, 2.7), (MINIFASNET_V1SE, 4.0))
"""Weights, and how many face boxes wide the crop is."""
EPSILON = 1e-5
"""Of PyTorch's batch normalisation."""

State = dict[str, NDArray[np.float32]]


def find_minifasnet(data_dir: Path | None = None) -> MiniFASNet | None:
    """The check, or None where one of the two weight files is not found.

    data_dir: the role's data folder, whose `models` is searched.
    """
    found = find_weights(data_dir, LIVENESS_SET, fetch=False)
    if found.missing:
        return None
    return MiniFASNet([(found.path(pinned), scale) for pinned, scale in NETWORKS])


class MiniFASNet:
    """Call it with a frame and a face: the probability, 0 to 1, that the face is genuine.

    The networks load at the first call. Not thread-safe.
    """

    def __init__(self, networks: list[tuple[Path, float]]) -> None:
        self._files = networks
        self._nets: list[tuple[cv2.dnn.Net, float]] | None = None

    def __call__(self, frame: Frame, face: Face) -> float:
        """Mean softmax of the genuine class over both networks."""
        return float(self.probabilities(frame, face)[GENUINE_CLASS])

    def probabilities(self, frame: Frame, face: Face) -> NDArray[np.float32]:
        """Mean softmax over the three classes, float32, shape (3,)."""
        if self._nets is None:
            self._nets = [(load_network(path), scale) for path, scale in self._files]
        frame = as_frame(frame)
        box = remapped(face)
        outputs = []
        for net, scale in self._nets:
            chip = crop(frame, box, scale)
            # BGR, 0 to 255, no mean: as the networks were trained.
            net.setInput(cv2.dnn.blobFromImage(chip))
            outputs.append(_softmax(np.asarray(net.forward(), np.float32).reshape(-1)))
        return np.asarray(np.mean(outputs, axis=0), np.float32)


def remapped(face: Face) -> tuple[float, float, float, float]:
    """x, y, width, height of the box that the networks' own detector would give."""
    x, y = face.centre
    width, height = face.box[2] * BOX_WIDTH, face.box[3] * BOX_HEIGHT
    y += BOX_DOWN * face.box[3]
    return x - width / 2, y - height / 2, width, height


def crop(frame: Frame, box: tuple[float, float, float, float], scale: float) -> Frame:
    """The part `scale` boxes wide around `box`, moved inside the frame, as 80 x 80 pixels."""
    height, width = frame.shape[:2]
    x, y, w, h = box
    w, h = max(w, 1.0), max(h, 1.0)
    scale = min(scale, (height - 1) / h, (width - 1) / w)
    half_width, half_height = w * scale / 2, h * scale / 2
    middle_x = min(max(x + w / 2, half_width), width - 1 - half_width)
    middle_y = min(max(y + h / 2, half_height), height - 1 - half_height)
    left, top = max(int(middle_x - half_width), 0), max(int(middle_y - half_height), 0)
    right, bottom = int(middle_x + half_width) + 1, int(middle_y + half_height) + 1
    return np.asarray(cv2.resize(frame[top:bottom, left:right], (SIDE, SIDE)), np.uint8)


def load_network(path: Path) -> cv2.dnn.Net:
    """The network of a state dictionary; raises WeightsCorrupt."""
    raw = read_state_dict(path)
    state = {name.removeprefix("module."): values for name, values in raw.items()}
    try:
        with quiet_opencv():
            net = cv2.dnn.readNetFromONNX(np.frombuffer(onnx_of(state), np.uint8))
            # OpenCV looks at shapes when it computes.
            net.setInput(np.zeros((1, 3, SIDE, SIDE), np.float32))
            if net.forward().shape != (1, 3):
                raise ValueError("not three classes")
    except (LookupError, ValueError, TypeError, cv2.error) as error:
        why = " ".join(str(error).split())[:200]
        raise WeightsCorrupt(
            f"{path} does not hold the network that is expected: {why}",
            f"{path} 中不是所需的网络：{why}",
        ) from None
    return net


def onnx_of(state: State) -> bytes:
    """The network as ONNX: input float32 (1, 3, 80, 80), output logits (1, 3)."""
    graph = Graph("minifasnet", (1, 3, SIDE, SIDE))
    x = _conv(graph, state, "conv1", "input", stride=2, pad=1)
    x = _conv(graph, state, "conv2_dw", x, pad=1)
    for step, blocks in (("23", "3"), ("34", "4"), ("45", "5")):
        x = _depth_wise(graph, state, f"conv_{step}", x, stride=2)
        number = 0
        while f"conv_{blocks}.model.{number}.conv.conv.weight" in state:
            name = f"conv_{blocks}.model.{number}"
            inner = _depth_wise(graph, state, name, x, stride=1)
            inner = _squeeze(graph, state, name, inner)
            x = graph.add("Add", [x, inner])
            number += 1
    x = _conv(graph, state, "conv_6_sep", x)
    x = _conv(graph, state, "conv_6_dw", x)
    x = graph.add("Flatten", [x], axis=1)
    gain, shift = _normalisation(state, "bn")
    weight = state["linear.weight"] * gain[:, None]
    hidden = graph.add("Gemm", [x, graph.tensor(weight), graph.tensor(shift)], transB=1)
    last = state["prob.weight"]
    bias = state.get("prob.bias", np.zeros(len(last), np.float32))
    x = graph.add("Gemm", [hidden, graph.tensor(last), graph.tensor(bias)], transB=1)
    return graph.serialise(x, (1, len(last)))


def _normalisation(state: State, name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Batch normalisation as gain and shift, to be folded into what stands before it."""
    gain = state[f"{name}.weight"] / np.sqrt(state[f"{name}.running_var"] + EPSILON)
    return gain, state[f"{name}.bias"] - state[f"{name}.running_mean"] * gain


def _folded(graph: Graph, state: State, conv: str, bn: str, x: str, stride: int, pad: int) -> str:
    weight = state[f"{conv}.weight"]
    gain, shift = _normalisation(state, bn)
    kernel = weight.shape[2]
    return graph.add(
        "Conv",
        [x, graph.tensor(weight * gain[:, None, None, None]), graph.tensor(shift)],
        kernel_shape=[kernel, kernel],
        strides=[stride, stride],
        pads=[pad] * 4,
        # One input channel a filter is how a depthwise convolution is stored.
        group=weight.shape[0] if weight.shape[1] == 1 else 1,
    )


def _conv(graph: Graph, state: State, name: str, x: str, stride: int = 1, pad: int = 0) -> str:
    x = _folded(graph, state, f"{name}.conv", f"{name}.bn", x, stride, pad)
    slope = state.get(f"{name}.prelu.weight")
    return x if slope is None else graph.add("PRelu", [x, graph.tensor(slope[:, None, None])])


def _depth_wise(graph: Graph, state: State, name: str, x: str, stride: int) -> str:
    x = _conv(graph, state, f"{name}.conv", x)
    x = _conv(graph, state, f"{name}.conv_dw", x, stride=stride, pad=1)
    return _conv(graph, state, f"{name}.project", x)


def _squeeze(graph: Graph, state: State, name: str, x: str) -> str:
    """Squeeze and excitation, where the block has one."""
    if f"{name}.se_fc1.weight" not in state:
        return x
    pooled = graph.add("GlobalAveragePool", [x])
    inner = _folded(graph, state, f"{name}.se_fc1", f"{name}.se_bn1", pooled, 1, 0)
    inner = graph.add("Relu", [inner])
    inner = _folded(graph, state, f"{name}.se_fc2", f"{name}.se_bn2", inner, 1, 0)
    return graph.add("Mul", [x, graph.add("Sigmoid", [inner])])


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    raised = np.exp(logits - logits.max())
    return np.asarray(raised / raised.sum(), np.float32)
