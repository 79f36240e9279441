// One keyboard listener: a person's keys go to the pad, a card reader's burst becomes a card.
"use strict";

import { padEnter, padKey, padOpen } from "./pad.js";

export const GAP_MS = 50; // between two keys of a reader; measured readers send one each 2 to 15 ms
const SHORTEST = 7; // digits of a card: one more than a PIN has

let held = []; // keys that may be a card's, not yet given to the pad
let last = 0;
let timer = 0;

/** `onCard` is called with what a reader typed, wherever the focus is. */
export function listen(onCard) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    const at = event.timeStamp;
    if (/^[0-9A-Za-z-]$/.test(event.key) && !event.repeat) {
      if (held.length && at - last > GAP_MS) release();
      held.push(event.key);
      last = at;
      clearTimeout(timer);
      timer = setTimeout(release, GAP_MS + 10);
      return;
    }
    if (event.key === "Enter" && held.length >= SHORTEST && at - last <= GAP_MS) {
      const card = held.join("");
      held = [];
      clearTimeout(timer);
      event.preventDefault(); // else Enter would press the button that has the focus
      event.stopImmediatePropagation();
      onCard(card);
      return;
    }
    if (["Shift", "CapsLock"].includes(event.key)) return; // a reader types capitals with them
    release();
    if (!padOpen()) return;
    if (event.key === "Backspace") padKey("delete");
    else if (event.key === "Enter" && event.target.tagName !== "BUTTON") { padEnter(); event.preventDefault(); }
  }, { capture: true });
}

// What was not a card was a person's typing.
function release() {
  clearTimeout(timer);
  const keys = held;
  held = [];
  if (padOpen()) for (const key of keys) padKey(key);
}
