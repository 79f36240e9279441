// Lists that are longer than the screen: they end at a whole row, and say how many more there are.
"use strict";

import { onLanguage, put, word } from "./page.js";

const lists = [];
const EDGE = 2; // pixels that a smooth scroll may be off

/** Keep `grid`, in `scroller` (or the same), at whole rows; `line` says how many are out of sight. */
export function wholeRows(scroller, grid, line) {
  const list = { scroller, grid, line };
  lists.push(list);
  scroller.addEventListener("scroll", () => say(list), { passive: true });
  // Not the scroller itself: its height is what `fit` sets.
  new ResizeObserver(() => fit(list)).observe(scroller.parentElement);
  onLanguage(() => fit(list));
  fit(list);
  return () => fit(list);
}

function fit(list) {
  const { scroller, grid, line } = list;
  if (!scroller.clientHeight) return;
  const at = scroller.scrollTop;
  scroller.classList.remove("cut");
  grid.style.gridAutoRows = "";
  // One long name makes its own cell wider, not every row higher.
  for (const each of grid.children) each.classList.remove("wide");
  const high = [...grid.querySelectorAll("li")].filter((each) => each.lastElementChild.offsetHeight > parseFloat(getComputedStyle(each).minHeight));
  for (const each of high) each.classList.add("wide");
  const style = getComputedStyle(grid);
  const gap = parseFloat(style.rowGap) || 0;
  const pad = grid === scroller ? parseFloat(style.paddingTop) + parseFloat(style.paddingBottom) : 0;
  const all = [...grid.children].map((each) => each.getBoundingClientRect());
  line.hidden = !all.length || all.at(-1).bottom - all[0].top + pad <= scroller.clientHeight + 1;
  if (!line.hidden) {
    scroller.classList.add("cut");
    const room = scroller.clientHeight - pad;
    const least = Math.max(...all.map((each) => each.height));
    const rows = Math.max(1, Math.floor((room + gap) / (least + gap)));
    grid.style.gridAutoRows = `${Math.max(least, (room + gap) / rows - gap)}px`;
    // Rows have another height now: stay at the beginning of the nearest one.
    const tops = [...grid.children].map((each) => each.offsetTop - grid.children[0].offsetTop);
    scroller.scrollTop = at > EDGE ? tops.reduce((best, top) => (Math.abs(top - at) < Math.abs(best - at) ? top : best), 0) : 0;
  }
  say(list);
}

function say({ scroller, grid, line }) {
  if (line.hidden) return;
  const seen = scroller.getBoundingClientRect();
  const boxes = [...grid.children].map((each) => each.getBoundingClientRect());
  const below = boxes.filter((box) => box.bottom > seen.bottom + EDGE).length;
  const above = boxes.filter((box) => box.top < seen.top - EDGE).length;
  put(line, [[above, "more_above"], [below, "more_below"]].filter(([count]) => count)
    .map(([count, key]) => word(key).replace("{count}", count)).join(" · "));
}

/** Let text that goes on below fade at the bottom. */
export function fading(scroller) {
  const look = () => scroller.classList.toggle("goes-on", scroller.scrollTop + scroller.clientHeight < scroller.scrollHeight - EDGE);
  scroller.addEventListener("scroll", look, { passive: true });
  new ResizeObserver(look).observe(scroller);
  onLanguage(look);
}
