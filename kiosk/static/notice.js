// The privacy notice: one touch from wherever somebody stands, over whatever they were doing.
"use strict";

import { $, switchLanguage } from "./page.js";
import { fading } from "./rows.js";

const QUIET_MS = 180_000; // one that nobody reads any more gives the screen back
let touched = 0;

export const noticeOpen = () => $("notice").open;

/** Close it where it is open. */
export function closeNotice() {
  if (noticeOpen()) $("notice").close();
}

function open() {
  touched = performance.now();
  $("notice").showModal();
  $("notice").querySelector(".prose").scrollTop = 0;
  $("n-title").focus();
}

for (const each of document.querySelectorAll('[data-opens="notice"]')) each.addEventListener("click", open);
for (const kind of ["pointerdown", "wheel", "keydown"]) $("notice").addEventListener(kind, () => { touched = performance.now(); }, { passive: true });
fading($("notice").querySelector(".prose"));
$("n-language").addEventListener("click", switchLanguage);
$("n-close").addEventListener("click", closeNotice);
setInterval(() => { if (performance.now() - touched > QUIET_MS) closeNotice(); }, 1000);
