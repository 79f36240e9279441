"""What is said to the person at the camera while no decision has been made."""

from __future__ import annotations

from enum import Enum

from recognition.quality import QualityFault


class Guidance(Enum):
    """One thing to do now; `words` says it."""

    LOOK = "look"
    COME_CLOSER = "come_closer"
    TO_THE_MIDDLE = "to_the_middle"
    FACE_CAMERA = "face_camera"
    MORE_LIGHT = "more_light"
    LESS_LIGHT = "less_light"
    HOLD_STILL = "hold_still"
    WHOLE_FACE = "whole_face"
    LOWER_MASK = "lower_mask"
    TAKE_OFF_GLASSES = "take_off_glasses"
    MOVE_A_LITTLE = "move_a_little"
    TURN_LEFT = "turn_left"
    TURN_RIGHT = "turn_right"
    LOOK_AHEAD = "look_ahead"
    COME_NEARER = "come_nearer"
    STEP_BACK = "step_back"

    def words(self, lang: str = "zh") -> str:
        """The sentence in "zh" or "en"."""
        zh, en = _WORDS[self]
        return zh if lang == "zh" else en


_WORDS = {
    Guidance.LOOK: ("请看摄像头", "Look into the camera"),
    Guidance.COME_CLOSER: ("靠近一点", "Come a little closer"),
    Guidance.TO_THE_MIDDLE: ("请站到画面中间", "Step to the middle of the picture"),
    Guidance.FACE_CAMERA: ("转向摄像头", "Turn to the camera"),
    Guidance.MORE_LIGHT: ("光线太暗", "Too dark: move into the light"),
    Guidance.LESS_LIGHT: ("光线太强，请避开强光", "Too bright: move out of the glare"),
    Guidance.HOLD_STILL: ("请站稳", "Hold still for a moment"),
    Guidance.WHOLE_FACE: ("请让整张脸进入画面", "Bring your whole face into the picture"),
    Guidance.LOWER_MASK: ("请摘下口罩", "Lower your mask, please"),
    Guidance.TAKE_OFF_GLASSES: ("请摘下墨镜", "Take off your dark glasses, please"),
    Guidance.MOVE_A_LITTLE: ("请稍微动一下头", "Move your head a little"),
    Guidance.TURN_LEFT: ("← 请向左转头", "← Turn your head to your left"),
    Guidance.TURN_RIGHT: ("请向右转头 →", "Turn your head to your right →"),
    Guidance.LOOK_AHEAD: ("请正对摄像头", "Look straight ahead"),
    Guidance.COME_NEARER: ("请把脸靠近一点", "Bring your face a little nearer"),
    Guidance.STEP_BACK: ("请后退一点", "Step back a little"),
}

FOR_FAULT = {
    QualityFault.NO_FACE: Guidance.LOOK,
    QualityFault.MANY_FACES: Guidance.TO_THE_MIDDLE,
    QualityFault.TOO_SMALL: Guidance.COME_CLOSER,
    QualityFault.TOO_DARK: Guidance.MORE_LIGHT,
    QualityFault.TOO_BRIGHT: Guidance.LESS_LIGHT,
    QualityFault.BLURRED: Guidance.HOLD_STILL,
    QualityFault.TURNED_AWAY: Guidance.FACE_CAMERA,
    QualityFault.CUT_OFF: Guidance.WHOLE_FACE,
    QualityFault.MASKED: Guidance.LOWER_MASK,
    QualityFault.DARK_GLASSES: Guidance.TAKE_OFF_GLASSES,
}
"""What to say for each fault of the live picture."""
