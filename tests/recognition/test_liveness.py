"""Liveness: policies, the challenge, the networks."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from recognition.challenge import STEP_SECONDS, TURNS, Challenge, ChallengeState
from recognition.decision import Match, NotLive, Wait
from recognition.engine import Engine
from recognition.errors import RecognitionError, WeightsCorrupt
from recognition.gallery import Gallery
from recognition.guidance import Guidance
from recognition.liveness import Liveness
from recognition.minifasnet import MiniFASNet, _softmax, load_network
from recognition.pictures import read_picture
from recognition.recogniser import Recogniser
from recognition.torch_file import read_state_dict
from recognition.types import Face
from recognition.weights import LIVENESS_SET, MINIFASNET_V2

FPS = 25.0


class Head:
    """A head that turns and comes nearer as it is told, at the pace of a person."""

    def __init__(self, face_at: Callable[..., Face]) -> None:
        self._face_at = face_at
        self.turn, self.eyes = 0.0, 60.0

    def follow(self, prompt: Guidance | None, *, wrong: bool = False) -> None:
        goal = {Guidance.TURN_LEFT: 0.4, Guidance.TURN_RIGHT: -0.4}.get(prompt, 0.0)
        goal = -goal if wrong else goal
        self.turn += float(np.clip(goal - self.turn, -0.06, 0.06))
        near = 80.0 if prompt is Guidance.COME_NEARER else 60.0
        self.eyes += float(np.clip(near - self.eyes, -1.5, 1.5))

    def face(self) -> Face:
        return self._face_at(yaw=self.turn, eyes=self.eyes)


def obey(
    challenge: Challenge,
    face_at: Callable[..., Face],
    *,
    wrong: bool = False,
    same: bool = True,
    ignore: bool = False,
) -> None:
    """Go through the challenge with a head; same: it stays one and the same person's."""
    head = Head(face_at)
    t = challenge.started
    for _ in range(400):
        if challenge.state is not ChallengeState.OPEN:
            return
        head.follow(Guidance.LOOK_AHEAD if ignore else challenge.prompt, wrong=wrong)
        challenge.see(head.face(), t)
        if challenge.wants_look:
            challenge.looked(same)
        t += 1 / FPS


@pytest.mark.parametrize("seed", range(6))
def test_who_does_as_told_passes(face_at, seed: int) -> None:
    challenge = Challenge.draw(0.0, random.Random(seed))
    obey(challenge, face_at)
    assert challenge.state is ChallengeState.PASSED


def test_who_turns_the_wrong_way_fails(face_at) -> None:
    challenge = Challenge((Guidance.TURN_RIGHT, Guidance.TURN_LEFT), 0.0)
    obey(challenge, face_at, wrong=True)
    assert challenge.state is ChallengeState.WRONG_WAY


def test_who_does_nothing_is_too_late(face_at) -> None:
    challenge = Challenge.draw(0.0, random.Random(1))
    for number in range(int(FPS * (STEP_SECONDS + 1))):
        challenge.see(face_at(x=320 + 20 * np.sin(number)), number / FPS)
    assert challenge.state is ChallengeState.TOO_LATE


def test_the_steps_cannot_be_known_before() -> None:
    """Guessed one time in 38, one time in 14 where nobody can come nearer; turns to both sides."""
    for room, chances in ((True, 38), (False, 14)):
        drawn = [Challenge.draw(0.0, random.Random(n), room=room).steps for n in range(2000)]
        assert len(set(drawn)) == chances
        assert max(drawn.count(steps) for steps in set(drawn)) <= 2 * 2000 / chances
        assert all(set(TURNS) <= set(steps) for steps in drawn)


def rotations(still: np.ndarray) -> Iterator[np.ndarray]:
    """A photograph turned about its upright axis by up to 50 degrees, and moved."""
    height, width = still.shape[:2]
    focal = 1.2 * width
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    centred = corners - np.array([width / 2, height / 2], np.float32)
    for step in range(100):
        angle = np.deg2rad(50) * np.sin(step / 8)
        depth = focal + centred[:, 0] * np.sin(angle)
        x = centred[:, 0] * np.cos(angle) * focal / depth + width / 2 + 15 * np.sin(step / 5)
        y = centred[:, 1] * focal / depth + height / 2
        target = np.stack([x, y], axis=1).astype(np.float32)
        warp = cv2.getPerspectiveTransform(corners, target)
        yield cv2.warpPerspective(still, warp, (width, height), borderMode=cv2.BORDER_REPLICATE)


@pytest.mark.parametrize("which", [1, 4])
def test_a_tilted_photograph_never_turns_its_head(sface: Engine, clips, which: int) -> None:
    """A flat picture, tilted as far as a hand can, passes no challenge; a single turn to one side
    it may feign (to 0.20 against the eye line)."""
    frames = list(rotations(clips[which].frames[5]))
    faces = [sface.detect(frame) for frame in frames]
    yaws = [found[0].yaw for found in faces if found]
    assert len(yaws) > 60, "the face stays visible"
    assert np.abs(np.array(yaws) - yaws[0]).max() <= 0.20
    drawn = [Challenge.draw(0.0, random.Random(seed)) for seed in range(20)]
    for challenge in [*drawn, *(Challenge((step,) * 3, 0.0) for step in TURNS)]:
        for number, found in enumerate(faces):
            if found:
                challenge.see(found[0], number / FPS)
        assert challenge.state is not ChallengeState.PASSED


def play(recogniser: Recogniser, frames: list[Any], fps: float) -> list[Any]:
    told = []
    for index, frame in enumerate(frames):
        seen = recogniser.observe(frame, index / fps, index)
        told += [seen.decision] if seen.fresh else []
        told += recogniser.ended
    return told + recogniser.finish()


@pytest.mark.parametrize("policy", ["challenge", "doubtful", "both"])
def test_the_challenge_is_put_to_who_is_known(scripted, person, face_at, policy: str) -> None:
    """Passes where he obeys, and only then; asked in words; the record says which check it was."""
    gallery = Gallery(scripted.model_id, 8)
    gallery.replace([("a", person(0)[None])])
    passive = {"challenge": None, "doubtful": lambda *_: 0.1, "both": lambda *_: 0.9}[policy]
    liveness = Liveness(policy, passive, rng=random.Random(3))  # type: ignore[arg-type]
    scripted.add((face_at(), person(0)), times=400)
    frames = scripted.frames()
    recogniser = Recogniser(scripted, gallery, liveness)
    prompts, told, head = [], [], Head(face_at)
    for index, frame in enumerate(frames):
        scripted.script[index] = [(head.face(), person(0))]
        seen = recogniser.observe(frame, index / FPS, index)
        told += [seen.decision] if seen.fresh else []
        if isinstance(seen.decision, Wait) and seen.decision.guidance:
            prompts.append(seen.decision.guidance)
            head.follow(prompts[-1])
    assert [type(d) for d in told] == [Match]
    assert told[0].liveness.name == ("passive+challenge" if policy == "both" else "challenge")
    assert {Guidance.TURN_LEFT, Guidance.TURN_RIGHT} & set(prompts)


def test_who_only_passes_by_is_nobodys_attack(scripted, person, face_at) -> None:
    """Gone after half a second: no record, no refusal, unless the networks were against him."""
    gallery = Gallery(scripted.model_id, 8)
    gallery.replace([("a", person(0)[None])])
    scripted.add((face_at(), person(0)), times=13)
    for passive, expected in ((0.9, []), (0.1, [NotLive])):
        liveness = Liveness("doubtful", lambda *_, p=passive: p)
        told = play(Recogniser(scripted, gallery, liveness), scripted.frames(), FPS)
        assert [type(d) for d in told] == expected


def test_who_does_not_obey_is_not_live(scripted, person, face_at) -> None:
    gallery = Gallery(scripted.model_id, 8)
    gallery.replace([("a", person(0)[None])])
    scripted.add((face_at(), person(0)), times=250)
    told = play(Recogniser(scripted, gallery, "challenge"), scripted.frames(), FPS)
    assert [type(d) for d in told] == [NotLive]
    assert told[0].liveness.name == "challenge"


@pytest.mark.parametrize("policy", ["doubtful", "passive", "both"])
def test_without_weights_the_challenge_is_for_everybody(scripted, person, face_at, policy) -> None:
    """A face that moves proves nothing; obeying does."""
    gallery = Gallery(scripted.model_id, 8)
    gallery.replace([("a", person(0)[None])])
    scripted.add((face_at(), person(0)), times=40)
    frames = scripted.frames()
    recogniser = Recogniser(scripted, gallery, Liveness(policy))
    asked = [recogniser.observe(f, i / FPS, i).decision for i, f in enumerate(frames)]
    assert asked[-1].guidance in (*TURNS, Guidance.COME_NEARER)
    told = recogniser.finish()
    assert [(type(d), d.liveness.name) for d in told] == [(NotLive, "challenge")]


def test_a_policy_never_passes_silently_without_its_weights() -> None:
    with pytest.raises(RecognitionError, match="no liveness policy"):
        Liveness("lax")  # type: ignore[arg-type]
    for policy in ("doubtful", "passive", "both"):
        assert "everybody is asked to turn" in (Liveness(policy).note("en") or "")  # type: ignore[arg-type]
        assert Liveness(policy, lambda *_: 0.9).note() is None  # type: ignore[arg-type]
    assert Liveness("off").note("zh") == "活体检测已关闭"
    assert Liveness("challenge").note() is None


# -- the networks ------------------------------------------------------------------------------


def reference(state: dict[str, np.ndarray], picture: np.ndarray) -> np.ndarray:
    """The network once more in plain numpy, straight from its definition; logits."""

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        shape = (-1, 1, 1) if x.ndim == 3 else (-1,)
        mean, var, gain, shift = (
            state[f"{name}.{k}"].reshape(shape).astype(np.float64)
            for k in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / np.sqrt(var + 1e-5) * gain + shift

    def conv(x: np.ndarray, weight: np.ndarray, stride: int = 1, pad: int = 0) -> np.ndarray:
        k = weight.shape[2]
        x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
        seen = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(1, 2))
        seen = seen[:, ::stride, ::stride]
        if weight.shape[1] == 1:
            return np.einsum("chwij,cij->chw", seen, weight[:, 0])
        return np.einsum("chwij,ocij->ohw", seen, weight, optimize=True)

    def block(x: np.ndarray, name: str, stride: int = 1, pad: int = 0) -> np.ndarray:
        x = norm(conv(x, state[f"{name}.conv.weight"], stride, pad), f"{name}.bn")
        slope = state.get(f"{name}.prelu.weight")
        return x if slope is None else np.where(x > 0, x, x * slope[:, None, None])

    def depth_wise(x: np.ndarray, name: str, stride: int) -> np.ndarray:
        x = block(block(x, f"{name}.conv"), f"{name}.conv_dw", stride, 1)
        return block(x, f"{name}.project")

    x = block(block(picture, "conv1", 2, 1), "conv2_dw", 1, 1)
    for step, group in (("conv_23", "conv_3"), ("conv_34", "conv_4"), ("conv_45", "conv_5")):
        x = depth_wise(x, step, 2)
        count = len({k.split(".")[2] for k in state if k.startswith(f"{group}.model.")})
        for name in (f"{group}.model.{i}" for i in range(count)):
            y = depth_wise(x, name, 1)
            if f"{name}.se_fc1.weight" in state:
                s = conv(y.mean(axis=(1, 2), keepdims=True), state[f"{name}.se_fc1.weight"])
                s = np.maximum(norm(s, f"{name}.se_bn1"), 0)
                s = norm(conv(s, state[f"{name}.se_fc2.weight"]), f"{name}.se_bn2")
                y = y / (1 + np.exp(-s))
            x = x + y
    x = block(block(x, "conv_6_sep"), "conv_6_dw").reshape(-1)
    return state["prob.weight"] @ norm(state["linear.weight"] @ x, "bn")


@pytest.mark.parametrize("pinned", LIVENESS_SET, ids=lambda p: p.name)
def test_the_built_network_computes_what_it_should(shared_models: Path, pinned) -> None:
    path = shared_models / pinned.name
    net = load_network(path)
    raw = read_state_dict(path)
    state = {k.removeprefix("module."): v.astype(np.float64) for k, v in raw.items()}
    picture = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    net.setInput(cv2.dnn.blobFromImage(picture))
    expected = reference(state, picture.transpose(2, 0, 1).astype(np.float64))
    got = np.asarray(net.forward()).reshape(-1)
    assert np.abs(got - expected).max() < 1e-3 * max(1, np.abs(expected).max())
    assert _softmax(got).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("who", ["0002", "0003", "0015"])
def test_people_pass_and_their_printed_photographs_do_not(
    shared_data: Path, sface: Engine, networks: MiniFASNet, who: str
) -> None:
    """Frames played as clips at 10 a second, the person enrolled from some of them."""
    folder = shared_data / "spoof_nuaa_dev"
    alive, printed = (
        [read_picture(p) for p in sorted((folder / kind / who).glob("*.jpg"))]
        for kind in ("genuine", "printed_photo")
    )
    enrolled = [sface.embed(f, sface.detect(f, thorough=True)[0]) for f in alive[::6]]
    gallery = Gallery(sface.model_id, sface.dimension)
    gallery.replace([(who, np.stack(enrolled))])
    rest = [f for i, f in enumerate(alive) if i % 6]
    for policy in ("doubtful", "passive"):
        told = play(Recogniser(sface, gallery, Liveness(policy, networks)), rest, 10)
        assert [(type(d), d.liveness.name) for d in told] == [(Match, "passive")]
        told = play(Recogniser(sface, gallery, Liveness(policy, networks)), printed, 10)
        assert told
        assert {type(d) for d in told} == {NotLive}


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return Path.touch, (str(tmp_path / "ran"),)  # type: ignore[return-value]

    path = tmp_path / "evil.pth"
    path.write_bytes(
        pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps(Evil(), 2)
    )
    with pytest.raises(WeightsCorrupt, match="no business"):
        read_state_dict(path)
    assert not (tmp_path / "ran").exists()
    path.write_bytes(b"PK\x03\x04 not this format")
    with pytest.raises(WeightsCorrupt):
        read_state_dict(path)


def test_a_state_dictionary_that_was_cut_off_is_refused(tmp_path: Path, shared_models) -> None:
    path = tmp_path / "half.pth"
    path.write_bytes((shared_models / MINIFASNET_V2.name).read_bytes()[:-5000])
    with pytest.raises(WeightsCorrupt, match="cut off"):
        read_state_dict(path)
