// The strip of what is wrong: whole sentences where they have room, else names and a list to open.
"use strict";

import { $, element, lang } from "./page.js";

const GRAVE = ["store", "disk", "recognition", "camera"]; // what stops people comes first
let shown = "[]";
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
  if (lines.length === 0 && $("trouble-list").open) $("trouble-list").close();
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

$("open-troubles").addEventListener("click", () => { $("trouble-list").showModal(); $("t-title").focus(); });
$("t-close").addEventListener("click", () => $("trouble-list").close());
window.addEventListener("resize", fit);
document.fonts.ready.then(fit);
