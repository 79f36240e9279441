"""`quxiang-kiosk run`: puts the parts of a kiosk together and keeps them going."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import threading
from collections.abc import Callable, Sequence

from attendance.errors import QuxiangError
from attendance.i18n import language, say
from attendance.memory import keep_small
from attendance.signing import fingerprint
from attendance.statuses import SiteKind
from hardware.camera import open_camera
from hardware.drivers import open_lamps
from hardware.errors import HardwareError, NoGpio, Notice, WiringError
from hardware.frames import Camera, Image
from hardware.inputs import way_in_of
from hardware.lamps import LampBoard
from hardware.lookout import PictureWatch, Thermometer
from hardware.turned import TurnedCamera
from hardware.waiting import WaitingBoard
from kiosk.badges import BadgeReader
from kiosk.begun import begun, sticks_of, stopped_by_signals
from kiosk.board import BoardRow
from kiosk.card import Card
from kiosk.checkin import CheckinService
from kiosk.clock import Clock, FrameClock
from kiosk.commands import driver_of, wiring_of
from kiosk.condition import Survey
from kiosk.config import PORTRAITS, save_config
from kiosk.display import Display
from kiosk.edge import Edge
from kiosk.errands import start_errands
from kiosk.errors import StoreUnusable
from kiosk.events import EventLog
from kiosk.exchange import SyncClient, SyncReport
from kiosk.facelock import FaceLock
from kiosk.housekeeping import Housekeeper
from kiosk.lampkeeper import LampKeeper
from kiosk.loop import Kiosk
from kiosk.notes import Notes
from kiosk.notify import Notifier
from kiosk.people import People
from kiosk.pins import Pins
from kiosk.portraits import Portraits
from kiosk.proposer import proposer_of
from kiosk.prune import DEFAULT_DAYS
from kiosk.refusals import RefusalCount
from kiosk.releases import own_release
from kiosk.run_options import is_live, wrong_usage
from kiosk.screen.app import Screen
from kiosk.screen.feed import ScreenFeed
from kiosk.settings import settings_or_trouble
from kiosk.site import Site
from kiosk.started import say_ready
from kiosk.surroundings import Surroundings
from kiosk.sync import SyncLoop
from kiosk.troubles import Troubles
from kiosk.vault import settle_erasures
from kiosk.views import Lookout
from kiosk.watch import Watch

TEST_S = 0.4
"""Seconds that each colour of the lamps' self-test is lit at start."""
LAST_SYNC_S = 40.0
"""How long the exchange under way may take to end (connect 5 s, read 30 s)."""


def main_run(
    args: argparse.Namespace,
    *,
    opener: Callable[..., Camera] = open_camera,
    stop: threading.Event | None = None,
    edge: Edge | None = None,
) -> int:
    """Runs the kiosk of `args.data` until its footage ends or it is told to stop; the exit status.

    Reads of `args`: data, camera, lamps, until_end, events, screen, liveness, signs, realtime,
    loop, engine, notice. `opener` opens the camera (as `hardware.camera.open_camera`), `stop`
    ends the run as SIGINT and SIGTERM do, `edge` is another time than the machine's. Raises the
    typed faults of its parts where it cannot start.
    """
    keep_small()
    live = is_live(args.camera)
    wrong = wrong_usage(args, live)
    if wrong:
        sys.stderr.write(f"quxiang-kiosk: {wrong}\n")
        return 2
    around = edge or Edge()
    with contextlib.ExitStack() as stack:
        told = stack.enter_context(stopped_by_signals(stop or threading.Event()))

        def make(site: Site, opening: contextlib.ExitStack) -> _Run:
            return _Run(args, site, live, opener, told, around, opening)

        made = begun(args, make, told, around, stack)
        return 0 if made is None else made.run(stack)


class _Run:
    """One run; what it opens is closed by the stack that it is given, last opened first."""

    def __init__(
        self,
        args: argparse.Namespace,
        site: Site,
        live: bool,
        opener: Callable[..., Camera],
        stop: threading.Event,
        edge: Edge,
        stack: contextlib.ExitStack,
    ) -> None:
        self.args = args
        self.site = site
        data, config = site.folder, site.config
        self.store, self.vault = site.store, site.vault
        self.live = live
        self.opener = opener
        self.badges: BadgeReader | None = None
        self.stop = stop
        self.edge = edge
        base, mono = edge.clock, edge.mono
        self.clock: Clock = base if live else FrameClock(base)
        self.feed = ScreenFeed()
        self.events = stack.enter_context(EventLog(args.events))
        self.notes = Notes(
            sys.stderr if self.events.to_stdout else sys.stdout, self._name_of, self._now_ms
        )
        self.events.listen(self.notes)
        self.events.listen(RefusalCount(self.store))
        self._camera, self._started = "starting", False
        self.troubles = Troubles(self.feed, self.events, self._note_troubles)
        self._note_troubles("[]")
        self.settings = settings_or_trouble(data, self.troubles)
        card = Card(data)
        stack.callback(card.close)
        self.recogniser = stack.enter_context(edge.recogniser(args, data))
        unsettled: StoreUnusable | None = None
        try:
            settle_erasures(self.vault, self.store, site.keys, base.read())
        except StoreUnusable as error:
            unsettled = error  # read, if not written: the board goes up, and says so
        people = site.people()
        self.service = CheckinService(
            self.store,
            people,
            Pins(self.store, people, base),
            self.clock,
            SiteKind(config.site_kind),
            card_needs_pin=getattr(args, "card_needs_pin", False) or self.settings.card.needs_pin,
        )
        self.keeper = LampKeeper(
            stack.enter_context(self._open_lamps(people)), self.events, now_s=mono
        )
        # Only a kiosk with a page shows pictures.
        self.portraits = Portraits(data / PORTRAITS) if args.screen is not None else None
        self.display = Display(
            self.store,
            self.keeper,
            self.feed,
            self.clock,
            mono=mono,
            on_show=self._shown,
            portraits=self.portraits,
        )
        self.feed.update(
            site=config.site,
            device=f"{config.device} · {fingerprint(site.keys.box_public)}",
            mirror=live,
            # Without the networks of MiniFASNet a check is still made, and people are told which.
            liveness_basic=self.recogniser.liveness.lacks_weights,
            camera=False,
            demo={
                "liveness_off": args.liveness == "off",
                "footage": not live,
                "notice": args.notice,
            },
        )
        self.survey = Survey(
            self.store,
            self.vault,
            self.display,
            self.clock,
            camera=lambda: self._camera,
            lamps=self._lamps,
            troubles=lambda: [trouble.part for trouble in self.troubles.now.values()],
            way=lambda: way_in_of(edge.root),
            room=edge.free_mb,
        )
        self.kiosk = Kiosk(
            store=self.store,
            vault=self.vault,
            service=self.service,
            recogniser=self.recogniser,
            display=self.display,
            lock=FaceLock(self.store, self.clock, by_frames=not live),
            events=self.events,
            feed=self.feed,
            clock=self.clock,
            live=live,
            troubles=self.troubles,
            mono=mono,
            card=lambda: card.fault,
            survey=self.survey.look,
        )
        if unsettled is not None:
            self.kiosk.cannot_record(unsettled)
        card.start()
        self.around = stack.enter_context(contextlib.closing(self._surroundings()))
        self.around.kiosk = self.kiosk
        self.kiosk.around = self.around
        self.kiosk.proposer = proposer_of(
            site, self.recogniser.engine, lambda: self.service.people, self.display.now_ms
        )
        self.events.listen(self.around)
        self.client = SyncClient(
            config,
            site.keys,
            self.store,
            self.vault,
            base,
            save=lambda learned: save_config(data, learned),
            health=lambda: self.survey.look().health(),
            portraits=self.portraits,
        )
        stack.callback(self.client.close)
        self._exchanging = threading.Lock()
        self.watch = Watch(
            self._open_camera,
            self.kiosk,
            self.events,
            self.feed,
            self.troubles,
            stop,
            live=live,
            on_state=self._note_state,
            lookout=Lookout(
                PictureWatch(self._best()), Thermometer.of(edge.root), self.feed, self.troubles
            ),
            mono=mono,
        )
        self.notifier = Notifier()
        self.kiosk.beat = self._beat
        self.housekeeper = Housekeeper(
            self.store, base, getattr(args, "keep_days", None) or DEFAULT_DAYS
        )
        self.kiosk.badges = self.badges = (
            stack.enter_context(BadgeReader(self.kiosk.badge)) if args.screen is not None else None
        )
        self._started = True
        self._note_state("starting")

    # -- the parts' small questions ---------------------------------------------------------

    def _name_of(self, official: str) -> str:
        person = self.service.people.get(official)
        return person.name if person else official

    def _now_ms(self) -> int:
        return self.clock.read().wall_ms

    def _shown(self, rows: list[BoardRow]) -> None:
        self.notes.board(rows, self.keeper.shown)
        if self.badges is not None:
            self.badges.wanted = any(person.has_badge for person in self.service.people.all)

    def _open_lamps(self, people: People) -> LampBoard:
        """The board, or one that waits for it: pins in use and a bad wiring file pass.

        Raises LampError where `--lamps` names a driver for which this machine has no pins at all,
        and WiringError where it does not fit the file: somebody stands there who can put it right.
        """
        ids = [person.official for person in people.all]
        folder, asked = self.site.folder, self.args.lamps

        def opened(lamps: Sequence[str]) -> LampBoard:
            wiring = wiring_of(folder) if asked != "screen" else None
            return open_lamps(asked or driver_of(wiring), lamps, wiring)

        try:
            return opened(ids)
        except HardwareError as error:
            if asked and isinstance(error, NoGpio | WiringError):
                raise
            return WaitingBoard(asked or "unknown", ids, opened, error)

    def _surroundings(self) -> Surroundings:
        """Voice, buttons and the rest; a file that cannot be read is told and leaves them out."""
        wiring = None
        # Told by the lamp board, which reads the same file.
        with contextlib.suppress(HardwareError):
            wiring = wiring_of(self.site.folder)
        return Surroundings(
            wiring,
            self.settings,
            live=self.live,
            troubles=self.troubles,
            feed=self.feed,
            person_of=lambda official: self.service.people.get(official),
            now_ms=self.display.now_ms,
            on_level=self.recogniser.lit,
            mono=self.edge.mono,
            root=self.edge.root,
        )

    def _lamps(self) -> str:
        return "unknown" if self.keeper.failed else self.keeper.driver

    def _note_state(self, camera: str) -> None:
        """Keep how the camera is, for `status` of another process."""
        self._camera = camera
        with contextlib.suppress(StoreUnusable):
            self.store.set_meta(camera=camera, lamps=self._lamps())

    def _note_troubles(self, listed: str) -> None:
        """Keep what is wrong, for `status` of another process; with the lamps, whose troubles come
        and go without the camera's."""
        with contextlib.suppress(StoreUnusable):
            self.store.set_meta(troubles=listed)
            if self._started:
                self.store.set_meta(lamps=self._lamps())

    # -- running ----------------------------------------------------------------------------

    def run(self, stack: contextlib.ExitStack) -> int:
        """Until the footage ends or somebody stops it; 0."""
        self.keeper.self_test(lambda: self._sleep(TEST_S if self.live else 0.0))
        self.watch.open(patient=self.args.screen is not None)
        weakened = self.recogniser.liveness.note(language())
        if weakened:
            self.notes.say(weakened)
        if self.args.screen is not None:
            logging.getLogger("waitress").setLevel(logging.ERROR)
            screen = stack.enter_context(
                Screen(self.feed, self.kiosk, self.args.screen, self.survey.metrics, self.portraits)
            )
            self.notes.say(say(f"屏幕：{screen.url}", f"screen: {screen.url}"))
        if self.args.until_end:
            self._exchange()
        loop = SyncLoop(self, self.kiosk.report, self.kiosk.report, edge=self.edge)
        stack.callback(loop.stop)
        self.kiosk.sync = loop
        loop.start()
        start_errands(
            stack, self.edge, self.site, self.housekeeper, self.display.now_ms,
            sticks_of(self.args),
        )  # fmt: skip
        try:
            self.watch.run()
            if not self.args.until_end:
                self._wait()
        finally:
            self.notifier.stopping()
            self.kiosk.sync = None
            loop.stop(LAST_SYNC_S if self.args.until_end else 1.0)
        if self.args.until_end and not self.stop.is_set():
            self._exchange()
        return 0

    def _beat(self) -> None:
        """The loop turned. Ready from the first turn on, once this release has recorded."""
        if say_ready(self.notifier, self.store, own_release(), self.clock):
            self.notifier.beat()

    def exchange(self) -> SyncReport:
        """One exchange with the server, never two at once (`SyncLoop` and the last one)."""
        with self._exchanging:
            return self.client.exchange()

    def _exchange(self) -> None:
        """One exchange here and now; what it brings, or why not, goes the usual way."""
        try:
            self.kiosk.report(self.exchange())
        except QuxiangError as error:
            self.kiosk.report(error)
        self.kiosk.idle()

    def _open_camera(self) -> Camera:
        camera = self.opener(
            self.args.camera,
            realtime=self.args.realtime or self.args.loop,
            loop=self.args.loop,
            sleep=self._sleep,
            on_fault=self._skipped,
        )
        degrees = self.settings.camera.rotate
        return TurnedCamera(camera, degrees) if degrees else camera

    def _best(self) -> Callable[[Image], float] | None:
        """How sure the detector is of a face; only the scores of YuNet can be compared."""
        detect = self.recogniser.engine.detect
        if self.args.engine != "sface":
            return None
        return lambda image: max((face.score for face in detect(image)), default=0.0)

    def _sleep(self, seconds: float) -> None:
        self.stop.wait(seconds)

    def _skipped(self, notice: Notice) -> None:
        self.events.fault("camera", str(notice))

    def _wait(self) -> None:
        """Screen, PIN, lamps and sync go on without a camera until somebody stops the kiosk."""
        if not self.stop.is_set():
            self.notes.say(
                say(
                    "样片已播完；屏幕、密码和同步继续。Ctrl-C 停止。",
                    "the footage has ended; screen, PIN and sync go on until Ctrl-C",
                )
            )
        while not self.stop.is_set():
            self.watch.idle(60.0)
