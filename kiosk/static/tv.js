// The site's board on a television: nobody touches it, nobody looks after it.
"use strict";

import { $, TODAY, brief, element, follow, lit, look, put, said, shape, time, told, word } from "./page.js";

const TURN_MS = 10_000; // twelve people are read in so long
const FADE_MS = 500;
const CARD = { width: 56, height: 18, gap: 1, margin: 2 }; // in hundredths of the picture's height

const state = {};
let offset = 0;
let lost = false;
let alive = Date.now(); // when the kiosk was last heard
let page = 0;
let turned = performance.now();
const now = () => Date.now() + offset;

function shapeOfPage() {
  const unit = Math.min(innerHeight / 100, (innerWidth * 0.5625) / 100);
  const columns = Math.max(1, Math.floor((innerWidth / unit - 2 * CARD.margin + CARD.gap) / (CARD.width + CARD.gap)));
  const room = $("people").clientHeight / unit - 1.2;
  const rows = Math.max(1, Math.floor((room + CARD.gap) / (CARD.height + CARD.gap) + 0.05));
  // What is left over is shared out, so that a page is full whatever stands above it.
  const height = Math.min(CARD.height * 1.2, (room - (rows - 1) * CARD.gap) / rows);
  return { columns, rows, height };
}

// Name and title share a line of 40 hundredths. A title that is longer takes two lines, broken after
// its 、 where there is one, and the name gives it room; neither is smaller than LEAST (tv.css).
const LINE = 39.2, NAME = 6, LEAST = 3.6;
const widthOf = (text) => [...text].reduce((sum, each) => sum + (each < "\u2e80" && each !== "·" ? 0.6 : 1), 0); // in characters
function headingOf(name, full) {
  const made = element("h2", {}, element("span", {}, name));
  const title = full.length > 12 ? full.replace(/[（(][^（()）]*[)）]$/, "") : full;
  const wide = widthOf(name);
  let size = Math.max(LEAST, Math.min(NAME, LINE / wide));
  if (title && wide <= 8) {
    const halves = title.split(/(?<=、)(?=[^、]*$)/);
    const two = (halves.length === 2 ? Math.max(...halves.map(widthOf)) : Math.ceil(widthOf(title) / 2)) * LEAST;
    const fits = NAME * wide + widthOf(title) * LEAST <= LINE;
    if (!fits) size = Math.min(NAME, Math.max(LEAST, (LINE - two) / wide));
    made.append(element("small", {}, !fits && halves.length === 2 && size > LEAST ? halves.join("\n") : title));
  }
  made.style.fontSize = `calc(${size.toFixed(2)} * var(--u))`;
  return made;
}

function card(row) {
  const seen = look(row.status);
  const shown = lit(row);
  const old = row.status === "stale";
  const photo = element("div", { class: "photo" }, [...row.name][0] ?? "");
  if (row.portrait) {
    const picture = element("img", { alt: "", src: `/portraits/${row.portrait}.jpg` });
    picture.addEventListener("error", () => picture.remove());
    photo.append(picture);
  }
  const more = old ? "" : row.until_ms ? element("small", {}, `${word("tv_until")} ${brief(row.until_ms, now())}`) : row.pending ? element("small", {}, word("declared")) : "";
  const heading = headingOf(row.name, row.title ?? "");
  const made = element("article", { "data-official": row.official, "data-status": row.status, class: old ? "old" : "" }, photo,
    element("div", { class: "about" },
      heading,
      element("p", { class: "state" }, shape(seen.shape), element("span", {}, said(seen)), more),
      row.phone ? element("p", { class: "phone" }, row.phone) : ""));
  made.style.setProperty("--status", shown.css);
  made.style.setProperty("--on", shown.ink);
  return made;
}

function paint() {
  const rows = state.rows ?? [];
  const counts = new Map();
  for (const row of rows) counts.set(row.status, (counts.get(row.status) ?? 0) + 1);
  $("legend").replaceChildren(...[...told.choosable, "unknown", "stale"].filter((status) => counts.has(status)).map((status) => {
    const item = element("li", {}, shape(look(status).shape), said(look(status)), element("b", {}, String(counts.get(status))));
    item.style.setProperty("--status", look(status).css);
    item.style.setProperty("--on", look(status).ink);
    return item;
  }));
  const { columns, rows: lines, height } = shapeOfPage();
  const each = columns * lines;
  const pages = Math.max(1, Math.ceil(rows.length / each));
  page %= pages;
  $("people").style.setProperty("--columns", columns);
  $("people").style.setProperty("--row", height.toFixed(2));
  const shown = rows.slice(page * each, (page + 1) * each).map(card);
  $("people").replaceChildren(...(rows.length ? shown : [element("p", { class: "empty" }, word("board_empty"))]));
  put($("page"), pages > 1 ? word("tv_page").replace("{page}", page + 1).replace("{pages}", pages) : "");
  return pages;
}

function mark() {
  const { ok = null, heard_ms: heard = null } = state.link ?? {};
  const old = (state.rows ?? []).some((row) => row.status === "stale");
  let words = "";
  if (lost) words = `${word("tv_lost")} ${time(alive + offset)}`;
  else if (ok === false && old) words = `${word("tv_stale")} ${heard === null ? word("never") : time(heard)}`;
  const hidden = $("stale").hidden;
  put($("stale"), words);
  $("stale").hidden = !words;
  document.body.classList.toggle("lost", lost);
  if (hidden !== $("stale").hidden) paint();
}

function turn() {
  if (performance.now() - turned < TURN_MS) return;
  turned = performance.now();
  const { columns, rows } = shapeOfPage();
  if ((state.rows ?? []).length <= columns * rows) return;
  $("people").classList.add("turning");
  setTimeout(() => { page += 1; paint(); $("people").classList.remove("turning"); }, FADE_MS);
}

function tick() {
  if (!lost) alive = Date.now();
  if (state.clock) {
    put($("clock"), time(now()));
    put($("date"), `${time(now(), TODAY)}${state.clock.sure ? "" : ` · ${word("clock_doubtful")}`}`);
  }
  mark();
  turn();
}

follow({
  state(changed) {
    Object.assign(state, changed);
    if (changed.clock) offset = changed.clock.now_ms - Date.now();
    if (changed.site) put($("site"), changed.site);
    if (changed.rows) paint();
    tick();
  },
}, (gone) => { lost = gone; mark(); });
addEventListener("resize", paint);
setInterval(tick, 1000);
