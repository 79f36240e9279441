// The idle page: header, banner, picture, instruction, board; and the stream that feeds them.
"use strict";

import { $, START, brief, element, look, moment, onLanguage, said, shape, switchLanguage, time, told, word } from "./page.js";
import { closeGreeting, greet } from "./greeting.js";
import { openPad, padNames } from "./pad.js";

const state = {};
let offset = 0; // kiosk's time minus this browser's, in milliseconds
let connected = true;
const now = () => Date.now() + offset;

const painters = {
  site() { $("site").textContent = state.site ?? ""; },
  clock() {
    if (!state.clock) return;
    $("sure").textContent = `${time(now(), { month: "long", day: "numeric", weekday: "short" })}\n${word(state.clock.sure ? "clock_sure" : "clock_doubtful")}`;
    $("sure").classList.toggle("warn", !state.clock.sure);
    tick();
  },
  link() {
    const { ok = null, heard_ms: heard = null, since_ms: since = null } = state.link ?? {};
    const at = heard === null ? word("never") : moment(heard, now());
    const words = ok === null ? [word("link_new")]
      : ok ? [word("link_ok"), `${word("last_sync")} ${at}`]
        : [`${word("link_down")}${since === null ? "" : ` (${word("since")} ${moment(since, now())})`}`];
    $("link").textContent = words.join(" · ");
    $("link").classList.toggle("warn", ok === false);
  },
  pending() {
    const lines = state.pending ? [`${word("pending")}: ${state.pending}`] : [];
    if (state.liveness_basic) lines.push(word("liveness_basic"));
    $("pending").textContent = lines.join("\n");
    document.querySelector("footer").classList.toggle("has-pending", lines.length > 0);
  },
  liveness_basic() { painters.pending(); },
  demo() {
    const demo = state.demo ?? {};
    const lines = demo.liveness_off ? ["banner_off"] : demo.footage ? ["banner_footage"] : [];
    const parts = lines.map((key) => (lang2(key)));
    $("banner").replaceChildren(...parts);
    if (demo.notice) $("banner").append(" ", element("small", {}, demo.notice));
    $("banner").hidden = !parts.length && !demo.notice;
  },
  instruction() {
    const shown = connected ? state.instruction : { zh: told.words.lost[0], en: told.words.lost[1], tone: "bad" };
    if (!shown) return;
    if ($("instruction").textContent !== said(shown)) $("instruction").textContent = said(shown);
    $("instruction").dataset.tone = shown.tone;
  },
  mirror() { document.querySelector(".frame").classList.toggle("mirror", Boolean(state.mirror)); },
  camera() {
    const on = Boolean(state.camera);
    if (on && $("picture").hidden) $("picture").src = `/picture?${Date.now()}`;
    if (!on) $("picture").removeAttribute("src");
    $("picture").hidden = !on;
  },
  rows() {
    const rows = state.rows ?? [];
    $("rows").replaceChildren(...rows.map(boardRow));
    $("empty").hidden = rows.length > 0;
  },
  device() { $("n-device").textContent = state.device ?? "—"; },
  head_code() { $("n-head").textContent = state.head_code ?? "—"; },
  people() { padNames(state.people ?? []); },
};

// The law's words on the banner stay in both languages: whoever stands there must understand it.
function lang2(key) {
  return `${told.words[key][0]} / ${told.words[key][1]}`;
}

function boardRow(row) {
  const seen = look(row.status);
  const lamp = element("span", { class: row.blinking ? "lamp blink" : "lamp" }, shape(seen.shape));
  const lit = row.status === "stale" ? (lookOf(row.colour) ?? seen) : seen;
  lamp.style.background = lit.css;
  lamp.style.setProperty("--on", lit.ink);
  const parts = [said(seen)];
  if (row.until_ms) parts.push(`${word("until")} ${brief(row.until_ms, now())}`);
  else if (row.since_ms) parts.push(brief(row.since_ms, now()));
  const marks = [];
  if (row.pending) marks.push(element("em", {}, word("declared")));
  if (row.lamp === "unknown") marks.push(element("em", {}, word("lamp_unknown")));
  const text = element("div", { class: "text" },
    element("strong", { title: row.title ? `${row.name} ${row.title}` : row.name }, row.name),
    element("span", {}, ...parts.flatMap((part) => [element("i", {}, part), " "]), ...marks));
  return element("li", { "data-official": row.official, "data-status": row.status }, lamp, text);
}

function lookOf(colour) {
  return Object.values(told.looks).find((each) => each.colour === colour);
}

function tick() {
  if (state.clock) $("clock").textContent = time(now());
}

function take(changed) {
  Object.assign(state, changed);
  if (changed.clock) offset = changed.clock.now_ms - Date.now();
  for (const key of Object.keys(changed)) painters[key]?.();
}

const paintAll = () => Object.values(painters).forEach((paint) => paint());

function connect() {
  const stream = new EventSource("/events");
  const on = (kind, act) => stream.addEventListener(kind, (message) => act(JSON.parse(message.data)));
  on("hello", (start) => {
    // Another start of the kiosk has another token: only its own page can act.
    if (start !== START) location.reload();
    connected = true;
    painters.instruction();
  });
  on("state", take);
  on("greeting", (event) => { if ($("pad").open) $("pad").close(); greet(event, now); });
  on("ask_pin", (event) => { closeGreeting(); openPad(event); });
  stream.onerror = () => {
    connected = false;
    painters.instruction();
    // The browser tries again by itself after a cut, but not after an answer like 503.
    if (stream.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
  };
}

// A board longer than the screen turns its pages by itself, until somebody touches it.
const TURN_MS = 8000;
const REST_MS = 40_000;
const board = document.querySelector(".board");
let touched = -REST_MS;
for (const kind of ["pointerdown", "wheel", "keydown"]) board.addEventListener(kind, () => { touched = performance.now(); }, { passive: true });
setInterval(() => {
  if (performance.now() - touched < REST_MS || document.querySelector("dialog[open]")) return;
  const step = Math.max(board.clientHeight - 60, 1);
  const end = board.scrollTop + board.clientHeight >= board.scrollHeight - 4;
  board.scrollTop = end ? 0 : board.scrollTop + step;
}, TURN_MS);

new ResizeObserver(() => {
  document.documentElement.style.setProperty("--banner", `${$("banner").offsetHeight}px`);
}).observe($("banner"));

$("picture").addEventListener("error", () => {
  if (state.camera) setTimeout(() => { if (state.camera) $("picture").src = `/picture?${Date.now()}`; }, 2000);
});
$("language").addEventListener("click", switchLanguage);
$("open-pin").addEventListener("click", () => openPad(null));
$("open-notice").addEventListener("click", () => $("notice").showModal());
$("n-close").addEventListener("click", () => $("notice").close());
onLanguage(paintAll);
setInterval(tick, 1000);
connect();
