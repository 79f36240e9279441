// The greeting, and the ten seconds in which one may say something else.
"use strict";

import { noticeOpen } from "./notice.js";
import { $, DATE_TIME, element, lang, look, moment, onLanguage, pieces, post, put, said, shape, time, told, word } from "./page.js";

const CHANGE_S = 10; // product.md: a change of mind within 10 s
const DETAIL_S = 20; // while reason and return are being touched
const TAKEN_S = 28; // the kiosk takes a choice for 30 s after the person was identified
const HOUR = 3600e3;
const DAYS = [0, 1, 2, 7]; // expected return by one touch: the end of work so many days from now

let shown = null; // the greeting on the screen
let clock = () => Date.now();
let ends = 0; // performance.now() at which the panel closes
let last = 0; // and beyond which reading the notice does not put that off
let lastId = null; // a greeting comes by the stream and as the answer to a touch: show it once
let choice = null; // {status, reason, until} while details are chosen

export function greet(greeting, now) {
  clock = now;
  const id = `${greeting.id} ${greeting.nonce ?? ""}`;
  if (id === lastId) return;
  lastId = id;
  shown = greeting;
  choice = null;
  const total = greeting.choices ? CHANGE_S : 5;
  ends = performance.now() + (total - (greeting.age_s ?? 0)) * 1000;
  last = performance.now() + (TAKEN_S - (greeting.age_s ?? 0)) * 1000;
  paint();
  if (!$("greeting").open) $("greeting").showModal();
  $("g-name").focus();
  const status = said(look(greeting.status));
  $("greeting-live").textContent = `${word(hello(greeting))} ${greeting.name} ${greeting.title ?? ""} ${greeting.verified ? word("recorded") : word("unverified")} ${status}`;
}

const hello = (greeting) => (greeting.status === "left" ? "goodbye" : "hello");

export function closeGreeting() {
  shown = choice = null;
  if ($("greeting").open) $("greeting").close();
}

function paint() {
  if (!shown) return;
  const seen = look(shown.status);
  $("g-card").style.setProperty("--status", shown.verified ? seen.css : "#4a4f54");
  $("g-card").style.setProperty("--on", shown.verified ? seen.ink : "#fff");
  put($("g-hello"), word(hello(shown)));
  $("g-name").replaceChildren(...pieces(shown.name));
  $("g-name").classList.toggle("long", [...shown.name].length > 8);
  $("g-title").replaceChildren(...pieces(shown.title ?? ""));
  $("g-status").hidden = !shown.verified;
  $("g-status").querySelector("use").setAttribute("href", `#${seen.shape}`);
  put($("g-status").querySelector("strong"), said(seen));
  const more = [word(shown.verified ? (shown.again ? "again" : "recorded") : "unverified")];
  if (shown.verified) more.push(`${word("lamp")} ${word(`lamp_${seen.colour}`)}`);
  if (shown.proposed) more.push(word("proposed"));
  if (shown.reason) more.push(reasonWord(shown.reason));
  if (shown.until_ms) more.push(`${word("until")} ${moment(shown.until_ms, clock())}`);
  $("g-more").replaceChildren(...more.map((each) => element("span", {}, each)));
  $("g-review").hidden = shown.verified;
  put($("g-when"), `${time(shown.at_ms)} · ${word(`by_${shown.method}`)}`);
  $("greeting").classList.toggle("plain", !shown.choices);
  $("greeting").classList.toggle("detail", choice !== null);
  $("g-choices").hidden = !shown.choices || choice !== null;
  $("g-detail").hidden = !shown.choices || choice === null;
  $("g-buttons").replaceChildren(...(shown.choices ? told.choosable.map(statusButton) : []));
  if (choice) paintDetail();
  count();
}

function statusButton(status) {
  const seen = look(status);
  const words = status === "left" ? word("leaving") : said(seen);
  const button = element("button", { type: "button", "data-status": status, "aria-pressed": String(status === shown.status), onclick: () => pick(status) }, shape(seen.shape), element("span", {}, words));
  button.style.setProperty("--status", seen.css);
  button.style.setProperty("--on", seen.ink);
  return button;
}

function pick(status) {
  if (status === "left") return send({ status, reason: null, until: null });
  choice = { status, reason: null, until: null };
  ends = performance.now() + DETAIL_S * 1000;
  paint();
  $("d-confirm").focus();
}

function paintDetail() {
  const seen = look(choice.status);
  $("d-status").replaceChildren(shape(seen.shape), said(seen), element("small", {}, word("reason")));
  $("d-status").style.setProperty("--status", seen.css);
  $("d-status").style.setProperty("--on", seen.ink);
  $("d-return").hidden = !["business_trip", "on_leave"].includes(choice.status);
  $("d-reasons").replaceChildren(...(told.offered[choice.status] ?? []).map((key) => element("button", {
    type: "button", "data-reason": key, "aria-pressed": String(choice.reason === key),
    onclick: () => change(() => { choice.reason = choice.reason === key ? null : key; }, `[data-reason="${key}"]`),
  }, reasonWord(key))));
  $("d-days").replaceChildren(...DAYS.map((days) => element("button", {
    type: "button", "data-days": days, "aria-pressed": String(choice.until === endOfWork(days)),
    onclick: () => change(() => { choice.until = choice.until === endOfWork(days) ? null : endOfWork(days); }, `[data-days="${days}"]`),
  }, word(`in_${days}`))));
  put($("d-until"), choice.until === null ? word("open") : time(choice.until, DATE_TIME));
}

function reasonWord(reason) {
  const known = told.reasons.find(([key]) => key === reason);
  return known ? known[lang === "en" ? 2 : 1] : reason;
}

function change(act, focus) {
  act();
  // The kiosk takes a choice for 30 s after the person was identified; the rest is for the last touch.
  ends = Math.max(ends, performance.now() + 5000);
  paint();
  document.querySelector(focus)?.focus();
}

/** 18:00 in Shanghai `days` from today; today's is the next full hour where 18:00 is past. */
function endOfWork(days) {
  const zone = 8 * HOUR;
  const today = Math.floor((clock() + zone) / (24 * HOUR)) * 24 * HOUR - zone;
  const at = today + (days * 24 + 18) * HOUR;
  return at > clock() ? at : (Math.floor(clock() / HOUR) + 1) * HOUR;
}

function shift(hours) {
  const next = choice.until === null ? (Math.floor(clock() / HOUR) + Math.max(hours, 1)) * HOUR : choice.until + hours * HOUR;
  choice.until = next > clock() ? next : null;
}

async function send({ status, reason, until }) {
  const id = shown.id;
  for (const button of $("greeting").querySelectorAll("button")) button.disabled = true;
  const answer = await post("/choose", { record_id: id, status, reason, until_ms: until });
  for (const button of $("greeting").querySelectorAll("button")) button.disabled = false;
  if (answer.ok && answer.greeting) return greet(answer.greeting, clock);
  choice = null;
  ends = performance.now() + 4000;
  shown = shown && { ...shown, told: answer };
  paint();
  return undefined;
}

function count() {
  if (!shown) return;
  if (noticeOpen()) ends = Math.max(ends, Math.min(performance.now() + CHANGE_S * 1000, last));
  const left = Math.ceil((ends - performance.now()) / 1000);
  if (left <= 0) return closeGreeting();
  put($("g-left"), shown.told ? said(shown.told) : `${word("change")} · ${left} ${word("change_left")}`);
  $("g-left").classList.toggle("bad", Boolean(shown.told));
  put($("g-done"), `${word("done")} (${left})`);
}

$("g-done").addEventListener("click", closeGreeting);
// A browser tells of a closing with the next frame: by then the next person's greeting may stand here.
$("greeting").addEventListener("close", () => { if (!$("greeting").open) shown = choice = null; });
// Escape goes one step back, and closes only what lies at the bottom.
$("greeting").addEventListener("cancel", (event) => { if (choice) { event.preventDefault(); $("d-back").click(); } });
$("d-back").addEventListener("click", () => {
  choice = null;
  ends = Math.min(ends, performance.now() + CHANGE_S * 1000);
  paint();
  $("g-done").focus();
});
$("d-confirm").addEventListener("click", () => send(choice));
for (const button of $("d-return").querySelectorAll("[data-hours]")) {
  button.addEventListener("click", () => change(() => shift(Number(button.dataset.hours)), `[data-hours="${button.dataset.hours}"]`));
}
setInterval(count, 250);
onLanguage(paint);
