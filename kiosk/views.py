"""What a live camera's pictures and the machine's heat mean for people: troubles with advice."""

from __future__ import annotations

from collections.abc import Mapping

from hardware.lookout import PictureWatch, Thermometer, View, Warmth
from kiosk.screen.feed import ScreenFeed
from kiosk.troubles import Trouble, Troubles

SLOW_S = 0.25
"""Least time between two pictures that are looked at while the machine is too hot: 4 a second,
which is still enough for a check-in."""

VIEWS: Mapping[View, Trouble] = {
    View.FROZEN: Trouble(
        "camera",
        ("摄像头画面不动了", "The camera's picture is frozen"),
        (
            "请用密码签到；请重新插拔摄像头",
            "check in by PIN; unplug the camera and plug it in again",
        ),
    ),
    View.COVERED: Trouble(
        "camera",
        ("摄像头被遮住，或太黑", "The camera is covered, or it is dark"),
        (
            "请取下镜头上的遮挡并擦净；夜间请开灯",
            "take away what covers the lens and wipe it; at night put on a light",
        ),
    ),
    View.BLANK: Trouble(
        "camera",
        ("摄像头可能被遮住：画面上什么也没有", "The camera may be covered: it sees nothing at all"),
        (
            "请取下镜头上的遮挡并擦净；若正对白墙，可转动摄像头",
            "take away what covers the lens and wipe it; if it faces a blank wall, turn it",
        ),
    ),
    View.UPSIDE_DOWN: Trouble(
        "camera",
        ("摄像头装倒了", "The camera hangs upside down"),
        (
            "请把它转正，或在 kiosk.toml 的 [camera] 里写 rotate = 180 后重启",
            "turn it round, or write rotate = 180 under [camera] in kiosk.toml and restart",
        ),
    ),
}
WEAK = Trouble(
    "power",
    ("供电电压不足", "The power supply is too weak"),
    ("请换用原装电源和短粗的电源线", "use the original power supply and a short, thick cable"),
)


def heat(celsius: float | None) -> Trouble:
    """The machine does less than it could, since it is hot."""
    at = ("", "") if celsius is None else (f"（{celsius:.0f} °C）", f" ({celsius:.0f} °C)")
    return Trouble(
        "heat",
        ("机器过热，已放慢", "The machine is too hot and has slowed down"),
        (
            f"签到照常，稍慢{at[0]}；请遮阳、通风、清灰",
            f"check-in goes on, slower{at[1]}; give it shade and air; dust it",
        ),
    )


class Lookout:
    """Tells what is wrong with the pictures or with the heat while it lasts."""

    def __init__(
        self,
        pictures: PictureWatch,
        thermometer: Thermometer,
        feed: ScreenFeed,
        troubles: Troubles,
    ) -> None:
        self._pictures = pictures
        self._thermometer = thermometer
        self._feed = feed
        self._troubles = troubles
        self._view = View.OK
        self._warmth = Warmth()
        self._looked_at = -SLOW_S

    def due(self, now_s: float) -> bool:
        """Whether this picture is to be looked at: all of them, fewer while it is too hot."""
        self.turn(now_s)
        if self._warmth.slow and now_s - self._looked_at < SLOW_S:
            return False
        self._looked_at = now_s
        return True

    def turn(self, now_s: float) -> None:
        """Look how hot it is, now and then."""
        warmth = self._thermometer.look(now_s)
        if warmth != self._warmth:
            self._warmth = warmth
            known = self._troubles.now.get("heat")
            # The degrees of the first moment stay: a number that wanders is no news.
            self._troubles.set("heat", (known or heat(warmth.celsius)) if warmth.slow else None)
            self._troubles.set("power", WEAK if warmth.weak else None)

    def see(self, image: object, now_s: float) -> View:
        """Take a picture (uint8 BGR) of a live camera; how they are now."""
        view = self._pictures.see(image, now_s)  # type: ignore[arg-type]
        if view is not self._view:
            self._view = view
            trouble = VIEWS.get(view)
            # In doubt nobody is sent away from the camera: whoever comes near may be seen.
            sure = trouble is not None and view is not View.BLANK
            words = {"zh": trouble.what[0], "en": trouble.what[1]} if trouble and sure else None
            self._feed.fault("camera", words)
            self._troubles.set("camera", trouble)
        return view

    def lost(self) -> None:
        """The camera is gone: what its pictures were like is over."""
        self._view = View.OK
