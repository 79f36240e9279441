"""The privacy notice, one touch away from every view of the kiosk, in both languages.

It says what 个人信息保护法 Art. 17, 29, 30 and 人脸识别技术应用安全管理办法 Art. 5 ask to be
told before consent: who, what for, how, what, where, how long, which rights, how to use them.
"""

from __future__ import annotations

from kiosk.screen.words import Pair

NOTICE: list[tuple[Pair, Pair]] = [
    (
        ("谁、为了什么", "Who, and what for"),
        (
            "本乡镇人民政府用本机登记干部到岗、下乡、出差、请假的去向，用于考勤和公示去向，不作他用，"
            "不评比排名。",
            "The township government records here where its officials are: on duty, in a village, "
            "on a trip or on leave. It is used for attendance and for the public board, for "
            "nothing else, and nobody is ranked.",
        ),
    ),
    (
        ("不用人脸也一样", "Without a face counts the same"),
        (
            "您可以用密码、刷卡，或工牌加密码签到，效力与人脸完全相同，不需要说明理由，"
            "也不会因此受到不利对待。",
            "You may check in by PIN, by card, or by badge and PIN. It counts exactly the same; no "
            "reason is asked and nobody is worse off for it.",
        ),
    ),
    (
        ("如何撤回同意", "How to withdraw consent"),
        (
            "随时向登记台（党政办）口头或书面提出即可，与当初同意一样简便，不需要理由。"
            "登记台当场删除您的人脸模板，各签到机在下次联网时删除并回执；之后照常用密码或卡。"
            "撤回不影响此前的签到记录。",
            "Tell the enrolment desk (township office) at any time, in speech or writing: as easy "
            "as consenting was, no reason needed. The desk erases your templates at once; each "
            "kiosk erases them at its next contact and confirms it. You go on with PIN or card. "
            "Earlier check-ins stand.",
        ),
    ),
    (
        ("记录什么", "What is kept"),
        (
            "签到的时间、地点、方式和状态；经您单独书面同意后，保存由照片计算出的人脸模板（一组数字）。"
            "密码、卡和工牌只保存加密后的校验值。除下一条外，不保存照片和视频；陌生人的人脸不作任何保存。"
            "去向牌上的照片须另行同意。",
            "Time, place, way and status of your check-in; with your separate written consent, "
            "face templates (rows of numbers) computed from photographs. Of PIN, card and badge "
            "only keyed hashes. But for the next point no picture or video is kept, nothing of "
            "strangers. A photograph on the board needs a consent of its own.",
        ),
    ),
    (
        ("另行书面同意者的照片", "Pictures, only where you agreed separately"),
        (
            "仅限另行书面同意者：人脸难以识别而签到成功时，本机可留一张面部照片，屏幕当时会说明。"
            "照片立即加密，本机和服务器都打不开；登记台由督导人员查看并署名决定是否采用。"
            "每人至多 3 张，30 天无人审定即删除；撤回后各处一并删除。",
            "Only if you agreed to this in writing, separately: where your face was hardly known "
            "and you checked in, the kiosk may keep one picture of your face, and says so then. "
            "It is encrypted at once; neither kiosk nor server can open it. At the enrolment desk "
            "a supervisor looks and decides, by name. At most 3 of you, erased after 30 days if "
            "nobody decided, and everywhere when you withdraw.",
        ),
    ),
    (
        ("保存在哪里、谁能看到", "Where it is kept, who sees it"),
        (
            "人脸模板、密码、卡和工牌的数据只在登记台电脑和签到机上加密保存，不上传互联网，服务器无法读取。"
            "签到记录上传至本乡镇服务器，供党政办、督导组和分管领导查看；公示的只有姓名、职务、电话、"
            "状态和您同意的照片。不向他人提供。",
            "Templates and the data of PIN, card and badge are kept encrypted on the enrolment "
            "desk and the kiosks only; the server cannot read them and nothing goes to the "
            "internet. Check-ins go to the township's server, for office, inspectors and "
            "leaders. Public are name, title, telephone, status and a picture you agreed to. "
            "Nothing is passed on.",
        ),
    ),
    (
        ("保存多久", "For how long"),
        (
            "人脸模板：到您撤回同意或调离为止。密码、卡、工牌：到更换、收回或调离为止。"
            "本机的签到记录：上传并超过保存期限后清除；服务器上的按考勤档案规定保存。",
            "Templates: until you withdraw or leave. PIN, card and badge: until replaced, taken "
            "back, or you leave. Check-ins on this kiosk: until they are uploaded and the "
            "retention is over; on the server as attendance files must be kept.",
        ),
    ),
    (
        ("只比对站到近前的人", "Only who steps up is compared"),
        (
            "只有站到近处、脸在椭圆框内的人才会被比对；路过的人不会。屏幕上的画面只在本机显示。",
            "Only a face held near, inside the oval, is compared; people passing are not. The "
            "picture is shown on this screen only.",
        ),
    ),
    (
        ("您的权利与联系方式", "Your rights, and whom to ask"),
        (
            "您有权查阅、复制、更正、删除您的信息，要求说明，或向网信部门投诉。请到本乡镇党政办（登记台）办理。",
            "You may see, copy, correct and erase your data, ask for an explanation, or complain "
            "to the cyberspace authority. Go to the township office (enrolment desk).",
        ),
    ),
    (
        ("法律依据", "Legal basis"),
        (
            "《个人信息保护法》第十七、二十八、二十九、四十四至四十七条；《人脸识别技术应用安全管理办法》"
            "（2025年6月1日起施行）第五、八、十条。",
            "Personal Information Protection Law, Art. 17, 28, 29, 44 to 47; Measures for the "
            "Security Management of Facial Recognition (in force 2025-06-01), Art. 5, 8, 10.",
        ),
    ),
]
