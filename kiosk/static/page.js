// What every part of the page shares: words in two languages, the server, small helpers.
"use strict";

export const $ = (id) => document.getElementById(id);
const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.content ?? "";
export const START = meta("screen-start");
const TOKEN = meta("screen-token");

export const told = await (await fetch("/words.json")).json();
export let lang = document.documentElement.lang.startsWith("en") ? "en" : "zh";
export const word = (key) => told.words[key][lang === "en" ? 1 : 0];
export const said = (pair) => (pair ? pair[lang] ?? "" : "");

const repaints = [];
/** Have `paint` called whenever the language changes. */
export const onLanguage = (paint) => repaints.push(paint);

export function switchLanguage() {
  lang = lang === "zh" ? "en" : "zh";
  document.cookie = `lang=${lang}; path=/; max-age=31536000; samesite=strict`;
  document.documentElement.lang = lang === "en" ? "en" : "zh-CN";
  document.title = word("title");
  for (const each of document.querySelectorAll("[data-word]")) each.textContent = word(each.dataset.word);
  for (const each of document.querySelectorAll("[data-label]")) each.setAttribute("aria-label", word(each.dataset.label));
  for (const each of document.querySelectorAll("[data-alt]")) each.alt = word(each.dataset.alt);
  for (const each of document.querySelectorAll("[data-zh]")) each.textContent = each.dataset[lang];
  for (const id of ["language", "n-language"]) if ($(id)) $(id).textContent = word("language");
  for (const paint of repaints) paint();
}

/** The server's answer `{ok, zh, en, greeting, ...}`; never throws. */
export async function post(path, body) {
  try {
    const reply = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Screen-Token": TOKEN },
      body: JSON.stringify(body),
    });
    if (reply.ok) return await reply.json();
  } catch { /* told below */ }
  const [zh, en] = told.words.failed;
  return { ok: false, zh, en, greeting: null };
}

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "onclick") made.addEventListener("click", value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const SVG = "http://www.w3.org/2000/svg";
/** The shape of a status as an SVG; colour is never the only sign. */
export function shape(name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

export const look = (status) => told.looks[status] ?? told.looks.unknown;

/** The look of a board's row: a stale one keeps the colour last known. */
export function lit(row) {
  if (row.status !== "stale") return look(row.status);
  return Object.values(told.looks).find((each) => each.colour === row.colour) ?? look("stale");
}

/** Set the text where it differs, so that what is read aloud and what fades is only what changed. */
export function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A name or a title in pieces that are not broken while there is another way: after 、 and ·. */
export const pieces = (text) => text.split(/(?<=[、·])/).map((each) => element("span", { class: "piece" }, each));

// Villages are read in Asia/Shanghai whatever zone the machine believes to be in.
const formats = {};
export function time(ms, options = { hour: "2-digit", minute: "2-digit" }) {
  const key = lang + JSON.stringify(options);
  formats[key] ??= new Intl.DateTimeFormat(lang === "en" ? "en-GB" : "zh-CN", { timeZone: "Asia/Shanghai", hourCycle: "h23", ...options });
  return formats[key].format(ms);
}
export const DATE_TIME = { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" };
export const TODAY = { month: "long", day: "numeric", weekday: "short" };
const DAY = { year: "numeric", month: "2-digit", day: "2-digit" };
/** Hour and minute today, else the day alone. */
export const brief = (ms, now) => time(ms, time(ms, DAY) === time(now, DAY) ? undefined : { month: "short", day: "numeric" });
/** Hour and minute, with the date where it is not the day of `now`. */
export const moment = (ms, now) => time(ms, time(ms, DAY) === time(now, DAY) ? undefined : DATE_TIME);

/** Follow the kiosk's stream: `on` has a function for each kind of event, `lost(bool)` is told. */
export function follow(on, lost) {
  const stream = new EventSource("/events");
  const listen = (kind, act) => stream.addEventListener(kind, (message) => act(JSON.parse(message.data)));
  listen("hello", (start) => {
    // Another start of the kiosk has another token: only its own page can act.
    if (start !== START) location.reload();
    lost(false);
  });
  for (const [kind, act] of Object.entries(on)) listen(kind, act);
  stream.onerror = () => {
    lost(true);
    // The browser tries again by itself after a cut, but not after an answer like 503.
    if (stream.readyState === EventSource.CLOSED) setTimeout(async () => {
      if (await pairing()) location.replace("/");
      else follow(on, lost);
    }, 2000);
  };
}

/** Whether the page that pairs a kiosk is served here now, which has no stream. */
async function pairing() {
  try {
    return !("looks" in await (await fetch("/words.json")).json());
  } catch {
    return false;
  }
}
