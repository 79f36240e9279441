// The idle page and the mirror that opens when somebody approaches; the stream that feeds them.
"use strict";

import { $, TODAY, brief, element, follow, lang, lit, look, moment, onLanguage, post, put, said, shape, switchLanguage, time, told, word } from "./page.js";
import { showCondition } from "./condition.js";
import { closeGreeting, greet } from "./greeting.js";
import { listen } from "./keys.js";
import { closeNotice, noticeOpen } from "./notice.js";
import { openPad, padNames } from "./pad.js";
import { fading, wholeRows } from "./rows.js";
import { showTroubles } from "./troubles.js";

const LINGER_MS = 5000; // the mirror stays so long after the last face
const TOUCHED_MS = 20_000; // and so long after a touch that opened it
const TOLD_MS = 6000;
const ALONE_MS = 30 * 60_000; // offline beyond this is told as a trouble, with advice

const board = document.querySelector(".board");
const fitBoard = wholeRows(board, $("rows"), $("board-more"));
fading(document.querySelector("#trouble-list .prose"));

const state = {};
let offset = 0; // kiosk's time minus this browser's, in milliseconds
let connected = true;
const now = () => Date.now() + offset;

const painters = {
  site() { $("site").textContent = state.site ?? ""; },
  clock() {
    if (!state.clock) return;
    put($("sure"), `${time(now(), { ...TODAY, month: "short" })}\n${word(state.clock.sure ? "clock_sure" : "clock_doubtful")}`);
    $("sure").classList.toggle("warn", !state.clock.sure);
    tick();
  },
  link() {
    const { ok = null, heard_ms: heard = null, since_ms: since = null } = state.link ?? {};
    const at = heard === null ? word("never") : moment(heard, now());
    const words = ok === null ? [word("link_new")]
      : ok ? [word("link_ok"), `${word("last_sync")} ${at}`]
        : [`${word("link_down")}${since === null ? "" : ` (${word("since")} ${moment(since, now())})`}`];
    if (state.pending) words.push(`${word("pending")} ${state.pending}`.replaceAll(" ", "\u00a0"));
    put($("link"), words.join(" · "));
    $("link").classList.toggle("warn", ok === false);
    painters.troubles();
  },
  pending() { painters.link(); },
  demo() {
    const demo = state.demo ?? {};
    const lines = demo.liveness_off ? ["banner_off"] : demo.footage ? ["banner_footage"] : [];
    // The law's words stay in both languages: whoever stands there must understand them.
    const parts = lines.map((key) => told.words[key].join(" / "));
    $("banner").replaceChildren(parts.join(" · "));
    if (demo.notice) $("banner").append(" ", element("small", {}, demo.notice));
    $("banner").hidden = !parts.length && !demo.notice;
  },
  troubles() {
    const lines = (state.troubles ?? []).map((each) => ({ part: each.part, what: each[`what_${lang}`], advice: each[`advice_${lang}`] }));
    const parts = new Set(lines.map((each) => each.part));
    for (const [part, fault] of Object.entries(state.faults ?? {})) {
      if (!parts.has(part)) lines.push({ part, what: said(fault), advice: "" });
    }
    const { ok = null, since_ms: since = null } = state.link ?? {};
    if (ok === false && since !== null && now() - since > ALONE_MS && !parts.has("link") && !parts.has("server")) {
      lines.push({ part: "link", what: `${word("alone")} ${moment(since, now())}`, advice: word("alone_advice") });
    }
    if (state.liveness_basic) lines.push({ part: "weights", what: word("liveness_basic"), advice: "" });
    showTroubles(lines);
    showCondition(state, lines, now());
  },
  condition() { painters.troubles(); },
  faults() { painters.troubles(); },
  liveness_basic() { painters.troubles(); },
  instruction() {
    const shown = connected ? state.instruction : { zh: told.words.lost[0], en: told.words.lost[1], tone: "bad" };
    if (!shown) return;
    const idle = shown.tone === "idle";
    // Broken between its clauses first, and at no hyphen: one glance must do.
    const text = said(shown).replaceAll("-", "\u2011");
    if ($("instruction").textContent !== text) {
      $("instruction").replaceChildren(...text.split(/(?<=[，；：]|[,;:] )/).map((clause) => element("span", {}, clause)));
    }
    put(document.querySelector("#wake .said"), idle ? word("approach") : said(shown));
    put($("said"), idle ? "" : said(shown));
    for (const id of ["instruction", "wake", "look"]) $(id).dataset.tone = shown.tone;
  },
  mirror() { document.querySelector(".frame").classList.toggle("mirror", Boolean(state.mirror)); },
  near() { if (state.near) wake(LINGER_MS); },
  motion() { if (state.motion) wake(LINGER_MS); },
  guidance() { if (state.guidance) wake(LINGER_MS); },
  camera() { if (!state.camera) sleep(); picture(); },
  rows() {
    const rows = state.rows ?? [];
    $("rows").replaceChildren(...rows.map(boardRow));
    $("empty").hidden = rows.length > 0;
    fitBoard();
  },
  device() { $("n-device").textContent = state.device ?? "—"; },
  head_code() {
    const code = (state.head_code ?? "—").replace(/^(.{4})(.{4})$/, "$1-$2");
    for (const id of ["head", "n-head"]) put($(id), code);
  },
  people() { padNames(state.people ?? []); },
};

function boardRow(row) {
  const seen = look(row.status);
  const shown = lit(row);
  const lamp = element("span", { class: row.blinking ? "lamp blink" : "lamp" }, shape(seen.shape));
  lamp.style.background = shown.css;
  lamp.style.setProperty("--on", shown.ink);
  const parts = [said(seen)];
  // Of a stale one nobody knows whether the return still holds.
  if (row.until_ms && row.status !== "stale") parts.push(word("until_day").replace("{day}", brief(row.until_ms, now())));
  else if (row.since_ms) parts.push(brief(row.since_ms, now()));
  const marks = [];
  if (row.pending) marks.push(element("em", {}, word("declared")));
  if (row.lamp === "unknown") marks.push(element("em", {}, word("lamp_unknown")));
  const text = element("div", { class: "text" },
    element("div", { class: "who" }, element("strong", { title: row.title ? `${row.name} ${row.title}` : row.name }, row.name), ...marks),
    element("span", {}, ...parts.flatMap((part) => [element("i", {}, part), " "])));
  return element("li", { "data-official": row.official, "data-status": row.status }, lamp, text);
}

// -- the mirror -----------------------------------------------------------------------------
let asleepAt = 0;

function wake(ms) {
  if (!state.camera) return;
  asleepAt = Math.max(asleepAt, performance.now() + ms);
  if (document.body.classList.contains("awake")) return;
  document.body.classList.add("awake");
  picture();
}

function sleep() {
  asleepAt = 0;
  document.body.classList.remove("awake");
  if ($("look").contains(document.activeElement)) $("wake").focus();
  picture();
}

function picture() {
  // Only an open mirror costs the kiosk the encoding of pictures.
  const on = Boolean(state.camera) && document.body.classList.contains("awake");
  if (on === !$("picture").hidden) return;
  if (on) $("picture").src = `/picture?${Date.now()}`;
  else $("picture").removeAttribute("src");
  $("picture").hidden = !on;
}

function tick() {
  if (state.clock) put($("clock"), time(now()));
  const busy = document.querySelector("dialog[open]");
  if (state.near && !busy) asleepAt = Math.max(asleepAt, performance.now() + LINGER_MS);
  if (document.body.classList.contains("awake") && performance.now() > asleepAt && !busy) sleep();
}

function take(changed) {
  Object.assign(state, changed);
  if (changed.clock) offset = changed.clock.now_ms - Date.now();
  for (const key of Object.keys(changed)) painters[key]?.();
}

// A board longer than the screen turns its pages by itself, until somebody touches it.
const TURN_MS = 8000;
const REST_MS = 40_000;
let touched = -REST_MS;
for (const kind of ["pointerdown", "wheel", "keydown"]) board.addEventListener(kind, () => { touched = performance.now(); }, { passive: true });
setInterval(() => {
  if (performance.now() - touched < REST_MS || document.body.classList.contains("awake") || document.querySelector("dialog[open]")) return;
  // Each page begins with a whole row: the first that the one before did not show to its end.
  const tops = [...$("rows").children].map((each) => [each.offsetTop - $("rows").offsetTop, each.offsetHeight]);
  const seen = board.scrollTop + board.clientHeight;
  const next = tops.find(([top, height]) => top > board.scrollTop + 1 && top + height > seen + 1);
  if (next) $("rows").style.paddingBottom = `${Math.max(0, next[0] + board.clientHeight - Math.max(...tops.map(([top, height]) => top + height)))}px`;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  board.scrollTo({ top: next ? next[0] : 0, behavior: still ? "instant" : "smooth" });
}, TURN_MS);

new ResizeObserver(() => {
  document.documentElement.style.setProperty("--banner", `${$("banner").offsetHeight}px`);
}).observe($("banner"));

$("picture").addEventListener("error", () => {
  setTimeout(() => { if (!$("picture").hidden) $("picture").src = `/picture?${Date.now()}`; }, 2000);
});
$("language").addEventListener("click", switchLanguage);
$("wake").addEventListener("click", () => {
  if (state.camera) { wake(TOUCHED_MS); $("look-pin").focus(); } else openPad(null);
});
$("look-close").addEventListener("click", () => { state.near = false; sleep(); });
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && document.body.classList.contains("awake") && !document.querySelector("dialog[open]")) $("look-close").click();
});
for (const id of ["open-pin", "look-pin"]) $(id).addEventListener("click", () => openPad(null));
onLanguage(() => Object.values(painters).forEach((paint) => paint()));
setInterval(tick, 1000);
listen(async (number) => {
  toast({ zh: told.words.card_read[0], en: told.words.card_read[1] }, true);
  const answer = await post("/card", { number });
  if (answer.ok && answer.greeting) { hush(); welcome(answer.greeting); } else if (answer.ask) ask(answer.ask); else toast(answer);
});

// -- the short message that lies over everything --------------------------------------------
let hushing = 0;
function toast(message, calm = false) {
  $("toast").classList.toggle("calm", calm);
  put($("toast-text"), said(message));
  if ($("toast").matches(":popover-open")) $("toast").hidePopover();
  $("toast").showPopover(); // again, so that it lies above what opened since
  clearTimeout(hushing);
  hushing = setTimeout(hush, TOLD_MS);
}

function hush() {
  clearTimeout(hushing);
  if ($("toast").matches(":popover-open")) $("toast").hidePopover();
}

function welcome(greeting) {
  // Who reads the notice after their greeting is still seen by the camera: that takes it from nobody.
  if (greeting.again && noticeOpen()) return;
  closeNotice();
  for (const id of ["pad", "trouble-list"]) if ($(id).open) $(id).close();
  greet(greeting, now);
}

function ask(person) {
  hush();
  closeGreeting();
  closeNotice();
  if ($("trouble-list").open) $("trouble-list").close();
  openPad(person);
}

follow({
  state: take,
  greeting: welcome,
  ask_pin: ask,
  told: toast,
}, (lost) => { connected = !lost; painters.instruction(); });
