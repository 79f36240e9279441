// The greeting, and the ten seconds in which one may say something else.
"use strict";

import { $, DATE_TIME, element, lang, look, moment, onLanguage, post, said, shape, time, told, word } from "./page.js";

const CHANGE_S = 10; // product.md: a change of mind within 10 s
const DETAIL_S = 20; // while reason and return are being touched
const HOUR = 3600e3;

let shown = null; // the greeting on the screen
let clock = () => Date.now();
let ends = 0; // performance.now() at which the panel closes
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
  paint();
  if (!$("greeting").open) $("greeting").showModal();
  $("g-name").focus();
  const status = said(look(greeting.status));
  $("greeting-live").textContent = `${word("hello")} ${greeting.name} ${greeting.title ?? ""} ${greeting.verified ? word("recorded") : word("unverified")} ${status}`;
}

export function closeGreeting() {
  shown = choice = null;
  if ($("greeting").open) $("greeting").close();
}

function paint() {
  if (!shown) return;
  const seen = look(shown.status);
  $("g-card").style.setProperty("--status", shown.verified ? seen.css : "#4a4f54");
  $("g-card").style.setProperty("--on", shown.verified ? seen.ink : "#fff");
  $("g-name").textContent = shown.name;
  $("g-name").classList.toggle("long", [...shown.name].length > 8);
  $("g-title").textContent = shown.title ?? "";
  $("g-status").hidden = !shown.verified;
  $("g-status").querySelector("use").setAttribute("href", `#${seen.shape}`);
  $("g-status").querySelector("strong").textContent = said(seen);
  const more = [word(shown.verified ? (shown.again ? "again" : "recorded") : "unverified")];
  if (shown.reason) more.push(reasonWord(shown.reason));
  if (shown.until_ms) more.push(`${word("until")} ${moment(shown.until_ms, clock())}`);
  $("g-more").textContent = more.join(" · ");
  $("g-review").hidden = shown.verified;
  $("g-when").textContent = `${time(shown.at_ms)} · ${word(`by_${shown.method}`)}`;
  $("greeting").classList.toggle("plain", !shown.choices);
  $("g-choices").hidden = !shown.choices || choice !== null;
  $("g-detail").hidden = !shown.choices || choice === null;
  $("g-buttons").replaceChildren(...(shown.choices ? told.choosable.map(statusButton) : []));
  if (choice) paintDetail();
  count();
}

function statusButton(status) {
  const seen = look(status);
  const words = status === "left" ? word("leaving") : said(seen);
  const button = element("button", { type: "button", "data-status": status, "aria-current": String(status === shown.status), onclick: () => pick(status) }, shape(seen.shape), words);
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
  $("d-status").textContent = said(look(choice.status));
  $("d-return").hidden = !["business_trip", "on_leave"].includes(choice.status);
  $("d-reasons").replaceChildren(...told.reasons.map(([key]) => element("button", {
    type: "button", "data-reason": key, "aria-pressed": String(choice.reason === key),
    onclick: () => { choice.reason = choice.reason === key ? null : key; extend(); paint(); document.querySelector(`[data-reason="${key}"]`).focus(); },
  }, reasonWord(key))));
  $("d-until").textContent = choice.until === null ? word("open") : time(choice.until, DATE_TIME);
}

function reasonWord(reason) {
  const known = told.reasons.find(([key]) => key === reason);
  return known ? known[lang === "en" ? 2 : 1] : reason;
}

function extend() {
  // The kiosk takes a choice for 30 s after the person was identified; the rest is for the last touch.
  const latest = performance.now() + 5000;
  ends = Math.max(ends, latest);
}

function shift(hours) {
  const day = 24 * HOUR;
  const zone = 8 * HOUR; // Asia/Shanghai
  // Started from the end of today's work, 18:00, or the next full hour where that is past.
  const first = Math.max(Math.floor((clock() + zone) / day) * day + 18 * HOUR - zone, Math.ceil(clock() / HOUR) * HOUR);
  const next = choice.until === null ? first + (Math.abs(hours) === 24 && hours > 0 ? day : 0) : choice.until + hours * HOUR;
  choice.until = next > clock() ? next : null;
  extend();
  paint();
}

async function send({ status, reason, until }) {
  const id = shown.id;
  for (const button of $("greeting").querySelectorAll("button")) button.disabled = true;
  const answer = await post("/choose", { record_id: id, status, reason, until_ms: until });
  for (const button of $("greeting").querySelectorAll("button")) button.disabled = false;
  if (answer.ok && answer.greeting) return greet(answer.greeting, clock);
  $("g-left").textContent = said(answer);
  choice = null;
  ends = performance.now() + 4000;
  $("g-choices").hidden = false;
  $("g-detail").hidden = true;
  shown = shown && { ...shown, told: answer };
  return undefined;
}

function count() {
  if (!shown) return;
  const left = Math.ceil((ends - performance.now()) / 1000);
  if (left <= 0) return closeGreeting();
  $("g-left").textContent = shown.told ? said(shown.told) : `${word("change")} · ${left} ${word("change_left")}`;
  $("g-done").textContent = `${word("done")} (${left})`;
}

$("g-done").addEventListener("click", closeGreeting);
$("greeting").addEventListener("close", () => { shown = choice = null; });
$("d-back").addEventListener("click", () => {
  choice = null;
  ends = Math.min(ends, performance.now() + CHANGE_S * 1000);
  paint();
});
$("d-confirm").addEventListener("click", () => send(choice));
for (const button of $("d-return").querySelectorAll("[data-hours]")) button.addEventListener("click", () => shift(Number(button.dataset.hours)));
setInterval(count, 250);
onLanguage(paint);
