// The strip of what is wrong: whole sentences where they have room, else names and a list to open,
// which also says how the kiosk is (condition.js) and opens by the button at the top.
"use strict";

import { $, element, lang, word } from "./page.js";

const GRAVE = ["store", "disk", "recognition", "camera"]; // what stops people comes first
const QUIET_MS = 180_000; // a list that nobody reads any more gives the screen back
let shown = "[]";
let touched = 0;
const grave = (each) => (GRAVE.includes(each.part) ? GRAVE.length - GRAVE.indexOf(each.part) : 0);

/** Show `lines`, each `{part, what, advice}`; what is shown already is left alone. */
export function showTroubles(lines) {
  lines = [...lines].sort((a, b) => grave(b) - grave(a));
  if (shown === (shown = JSON.stringify(lines))) return;
  const rows = (deep) => lines.map((each) => element("li", { "data-part": each.part },
    element("b", {}, each.what), each.advice ? element("span", { class: "advice" }, `${deep ? "" : lang === "en" ? ": " : "："}${each.advice}`) : ""));
  $("troubles").replaceChildren(...rows(false));
  $("t-rows").replaceChildren(...rows(true));
  $("strip").hidden = lines.length === 0;
  $("t-rows").hidden = lines.length === 0;
  // Who came for what is wrong has nothing to read any more; who came to see how it is has.
  if (lines.length === 0 && $("trouble-list").dataset.from === "open-troubles") $("trouble-list").close();
  fit();
}

// Advice that scrolls out of sight is none: where it does not fit, it moves into the list.
function fit() {
  const strip = $("strip"), list = $("troubles");
  strip.classList.remove("brief");
  $("open-troubles").hidden = true;
  for (const each of list.children) each.hidden = false;
  if (list.scrollHeight <= list.clientHeight + 1) return;
  strip.classList.add("brief");
  $("open-troubles").hidden = false;
  $("how-many").textContent = ` (${list.children.length})`;
  // None is cut in the middle; the button says how many there are.
  const end = list.getBoundingClientRect().bottom;
  const hidden = [...list.children].filter((each) => each.getBoundingClientRect().bottom > end);
  for (const each of hidden) each.hidden = true;
}

function open(event) {
  touched = performance.now();
  $("trouble-list").dataset.from = event.currentTarget.id;
  const title = $("t-title").firstElementChild;
  title.dataset.word = event.currentTarget.id === "open-troubles" ? "what_to_do" : "state";
  title.textContent = word(title.dataset.word);
  $("trouble-list").showModal();
  $("trouble-list").querySelector(".prose").scrollTop = 0;
  $("t-title").focus();
}

for (const id of ["open-troubles", "open-state"]) $(id).addEventListener("click", open);
for (const kind of ["pointerdown", "wheel", "keydown"]) $("trouble-list").addEventListener(kind, () => { touched = performance.now(); }, { passive: true });
setInterval(() => { if ($("trouble-list").open && performance.now() - touched > QUIET_MS) $("trouble-list").close(); }, 1000);
$("t-close").addEventListener("click", () => $("trouble-list").close());
window.addEventListener("resize", fit);
document.fonts.ready.then(fit);
