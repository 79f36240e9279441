"""The voice: one sentence at a time, the newest next; a real espeak-ng is heard in a WAV file."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import pytest

from hardware.errors import VoiceError
from hardware.voice import LONGEST_S, LOOK_S, RETRY_S, Voice, outputs_of, sound_outputs


class Speaker:
    """Stands for the commands that speak; remembers what was said, and when it overlapped."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.words: list[list[str]] = []
        self.running: list[Sentence] = []
        self.most = 0
        self.missing = False
        self.complains = ""
        self.status = 0

    def __call__(self, words: list[str], text: str, complaints: Any) -> Sentence:
        if self.missing:
            raise FileNotFoundError(2, "No such file or directory", words[0])
        self.said.append(text.strip())
        self.words.append(words)
        complaints.write(self.complains.encode())
        sentence = Sentence(self)
        self.running.append(sentence)
        self.most = max(self.most, len(self.running))
        return sentence

    def finish(self) -> None:
        self.running[0].status = self.status
        self.running.pop(0)


class Sentence:
    def __init__(self, speaker: Speaker) -> None:
        self.speaker = speaker
        self.status: int | None = None

    def poll(self) -> int | None:
        return self.status

    def kill(self) -> None:
        self.status = -9
        if self in self.speaker.running:
            self.speaker.running.remove(self)


@pytest.fixture
def speaker() -> Speaker:
    return Speaker()


def test_sentences_never_overlap_and_the_newest_is_next(speaker: Speaker) -> None:
    voice = Voice(start=speaker)
    voice.say("李强您好", 0.0)
    for at, name in enumerate(("王芳", "赵六", "钱七"), 1):
        voice.say(f"{name}您好", at / 10)
    assert speaker.said == ["李强您好"]
    assert voice.speaking
    speaker.finish()
    voice.turn(1.0)
    assert speaker.said == ["李强您好", "钱七您好"]
    speaker.finish()
    voice.turn(2.0)
    voice.turn(3.0)
    assert not voice.speaking
    assert (speaker.most, len(speaker.said)) == (1, 2)
    assert voice.fault is None
    assert speaker.words[0] == ["espeak-ng", "-v", "cmn"]


def test_a_command_may_take_the_text_among_its_words(speaker: Speaker) -> None:
    voice = Voice("say --voice 'Ting Ting' {text}", start=speaker)
    voice.say("您好\n  张 三", 0.0)
    assert speaker.words == [["say", "--voice", "Ting Ting", "您好 张 三"]]
    assert speaker.said == [""]
    for bad in ("", "   ", "say 'unclosed"):
        with pytest.raises(VoiceError, match="cannot be used"):
            Voice(bad, start=speaker)


def test_a_missing_command_is_a_fault_with_advice_until_it_is_there(speaker: Speaker) -> None:
    voice = Voice(start=speaker)
    speaker.missing = True
    voice.say("一", 0.0)
    assert isinstance(voice.fault, VoiceError)
    assert "install espeak-ng" in voice.fault.words("en")
    assert "安装 espeak-ng" in voice.fault.words("zh")
    speaker.missing = False
    voice.say("二", RETRY_S - 0.1)
    voice.turn(RETRY_S + 0.1)
    assert speaker.said == []  # too soon, and never said late
    voice.say("三", RETRY_S)
    speaker.finish()
    voice.turn(RETRY_S + 1)
    assert speaker.said == ["三"]
    assert voice.fault is None


@pytest.mark.parametrize(("status", "complains"), [(1, ""), (0, "ALSA lib x\nerror: No such file")])
def test_no_sound_card_is_a_fault_although_espeak_ends_well(
    speaker: Speaker, status: int, complains: str
) -> None:
    voice = Voice(start=speaker)
    speaker.status, speaker.complains = status, complains
    voice.say("一", 0.0)
    speaker.finish()
    voice.turn(1.0)
    assert voice.fault is not None
    assert "loudspeaker" in str(voice.fault)
    speaker.status, speaker.complains = 0, "ALSA lib pcm.c: underrun occurred"
    voice.say("二", 10.0)
    speaker.finish()
    voice.turn(11.0)
    assert voice.fault is None


def test_a_sentence_that_hangs_is_ended(speaker: Speaker) -> None:
    voice = Voice(start=speaker)
    voice.say("一", 0.0)
    voice.turn(LONGEST_S - 0.1)
    assert voice.speaking
    voice.turn(LONGEST_S)
    assert not voice.speaking
    assert speaker.running == []
    assert "did not end" in str(voice.fault)
    voice.say("二", 100.0)
    voice.close()
    voice.close()
    assert speaker.running == []


def test_a_real_command_gets_the_text_and_nothing_waits_for_it(tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    program = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_bytes(sys.stdin.buffer.read())"
    voice = Voice(f"{sys.executable} -c '{program}' {heard}")
    voice.say("李强您好", 0.0)
    assert isinstance(voice._speech, subprocess.Popen)
    voice._speech.wait(20)
    voice.turn(1.0)
    assert voice.fault is None
    assert heard.read_text("utf-8").strip() == "李强您好"
    gone = Voice("no-such-command-here")
    gone.say("一", 0.0)
    assert "no-such-command-here" in str(gone.fault)


def test_espeak_really_speaks_chinese(tmp_path: Path) -> None:
    """Into a file, since a machine that runs tests has no loudspeaker: heard by its samples."""
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed on this machine")
    lengths = []
    for number, text in enumerate(("李强您好，已记录，下乡。", "您好")):
        target = tmp_path / f"{number}.wav"
        voice = Voice(f"espeak-ng -v cmn -w {target}")
        voice.say(text, 0.0)
        assert isinstance(voice._speech, subprocess.Popen)
        voice._speech.wait(30)
        voice.turn(1.0)
        assert voice.fault is None
        with wave.open(str(target)) as sound:
            assert sound.getnchannels() == 1
            assert sound.getsampwidth() == 2
            samples = struct.unpack(f"<{sound.getnframes()}h", sound.readframes(sound.getnframes()))
            lengths.append(sound.getnframes() / sound.getframerate())
        loudness = (sum(each * each for each in samples) / len(samples)) ** 0.5
        assert loudness > 500  # of 32,768; silence is 0
    assert lengths[0] > 2 * lengths[1] > 0.4  # a long sentence is longer than a short one


def test_a_missing_sound_card_is_told_before_anybody_waits_and_recovers(
    speaker: Speaker, tmp_path: Path
) -> None:
    voice = Voice(start=speaker, outputs=lambda: sound_outputs(tmp_path))
    voice.turn(0.0)
    assert voice.fault is not None
    assert "no sound card" in str(voice.fault)
    assert "没有声卡" in voice.fault.words("zh")
    sound = tmp_path / "dev/snd"
    sound.mkdir(parents=True)
    (sound / "pcmC1D0c").touch()  # a microphone is no loudspeaker
    voice.turn(LOOK_S)
    assert voice.fault is not None
    (sound / "pcmC1D0p").touch()
    voice.turn(LOOK_S + 1.0)
    assert voice.fault is not None, "not yet looked"
    voice.turn(2 * LOOK_S)
    assert voice.fault is None
    speaker.status, speaker.complains = 1, "error: no route"
    voice.say("李强您好", 11.0)
    speaker.finish()
    voice.turn(12.0)
    assert voice.fault is not None, "a card that is there and does not sound is told as before"
    voice.turn(20.0)
    assert voice.fault is not None
    (sound / "pcmC2D0p").touch()
    voice.turn(30.0)
    assert voice.fault is None, "another card is worth another try"


def test_a_word_that_fails_without_a_card_hides_not_what_is_to_be_done(
    speaker: Speaker, tmp_path: Path
) -> None:
    voice = Voice(start=speaker, outputs=lambda: sound_outputs(tmp_path))
    speaker.status, speaker.complains = 1, "error: No such file or directory"
    voice.say("李强您好", 0.0)
    speaker.finish()
    voice.turn(1.0)
    assert voice.fault is not None
    assert "no sound card" in str(voice.fault)
    assert "没有声卡" in voice.fault.words("zh")


def test_a_voice_through_the_network_needs_no_card(tmp_path: Path) -> None:
    assert outputs_of("curl --data-binary @- http://10.0.0.2/say") is None
    assert outputs_of("") is None
    here = outputs_of("/usr/bin/espeak-ng -v cmn", tmp_path)
    assert here is not None
    assert here() == frozenset()
    (tmp_path / "dev/snd").mkdir(parents=True)
    (tmp_path / "dev/snd/pcmC0D0p").touch()
    assert here() == {"pcmC0D0p"}
