"""What the tests of the kiosk's page share: waiting until it has settled, and two troubles."""

from __future__ import annotations

# Every transition has ended; what blinks for ever does not count.
SETTLED = """async () => {
  const all = document.getAnimations();
  const ending = all.filter((each) => each.effect.getComputedTiming().iterations !== Infinity);
  await Promise.allSettled(ending.map((each) => each.finished));
}"""
TROUBLES = [
    {
        "part": "camera",
        "what_zh": "摄像头被遮住",
        "what_en": "The camera is covered",
        "advice_zh": "请擦净镜头或移开遮挡；可用密码或刷卡。",
        "advice_en": "Wipe the lens or move what covers it; PIN and card work.",
    },
    {
        "part": "disk",
        "what_zh": "存储空间将满",
        "what_en": "The disk is nearly full",
        "advice_zh": "请通知技术人员；签到照常。",
        "advice_en": "Tell the technician; check-in goes on.",
    },
]
