// How the kiosk is, in words: the list behind the button at the top, also where nothing is wrong.
"use strict";

import { $, element, moment, time, word } from "./page.js";

const DAY = { year: "numeric", month: "short", day: "numeric" };
let shown = "";

/** Paint `state` (the feed's) into the list; `lines` are the troubles as they are shown. */
export function showCondition(state, lines, now) {
  const rows = rowsOf(state, lines, now);
  if (shown === (shown = JSON.stringify(rows))) return;
  $("t-state").replaceChildren(...rows.map(([key, value, bad]) => element("div", { "data-key": key, class: bad ? "bad" : null },
    element("dt", {}, word(`state_${key}`)), element("dd", {}, value))));
}

function rowsOf(state, lines, now) {
  const { condition = {}, link = {} } = state;
  const wrong = (part) => lines.find((each) => each.part === part)?.what;
  const { oldest_s: oldest = null, rejected = 0, free_mb: free = null, expires_ms: expires = null, clock = null } = condition;
  const rows = [["outbox", outbox(state.pending ?? 0, oldest), Boolean(wrong("outbox"))]];
  if (rejected) rows.push(["rejected", String(rejected), true]);
  rows.push(
    ["disk", free === null ? word("state_unknown") : size(free), Boolean(wrong("disk"))],
    ["clock", word(clock === "A" ? "state_clock_A" : clock === null ? "state_unknown" : "state_clock_C"), clock === "C"],
    ["camera", wrong("camera") ?? part(condition.camera), Boolean(wrong("camera"))],
    ["lamps", wrong("lamps") ?? part(condition.lamps), Boolean(wrong("lamps"))],
    ["gallery", expires === null ? wrong("gallery") ?? word(condition.expires_ms === null ? "state_waiting" : "state_unknown") : gallery(expires, now), Boolean(wrong("gallery")) || (expires !== null && expires <= now)],
    ["heard", state.link === undefined ? word("state_unknown") : (link.heard_ms ?? null) === null ? word("never") : moment(link.heard_ms, now), link.ok === false],
  );
  return rows;
}

const size = (mb) => (mb < 1000 ? `${mb}\u00a0MB` : `${(mb / 1000).toFixed(1)}\u00a0GB`);

function outbox(pending, oldest) {
  if (oldest === null) return word("state_unknown");
  if (!pending) return word("state_none");
  const [key, count] = oldest < 3600 ? ["age_min", Math.floor(oldest / 60)] : oldest < 86_400 ? ["age_h", Math.floor(oldest / 3600)] : ["age_d", Math.floor(oldest / 86_400)];
  return word("state_outbox_value").replace("{count}", pending).replace("{age}", word(key).replace("{count}", count));
}

function part(state) {
  if (state === "ended") return word("state_ended");
  return word(["", "unknown", "starting", undefined].includes(state) ? "state_unknown" : "state_ok");
}

function gallery(expires, now) {
  const day = time(expires, DAY);
  return expires > now ? day : word("state_gallery_over").replace("{day}", day);
}
