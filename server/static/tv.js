// The television's page: people that do not fit are shown page after page.
(function () {
  "use strict";
  const live = document.getElementById("live");
  const told = document.getElementById("pages");
  const EVERY_MS = 12000;  // long enough to read a page of some twenty people
  let page = 0;
  if (!live) return;

  function lay(step) {
    const list = live.querySelector(".tv-people");
    if (!list) return;
    const people = Array.from(list.children);
    people.forEach(function (one) { one.hidden = false; });
    if (!people.length || window.matchMedia("(max-width: 60rem)").matches) { told.textContent = ""; return; }
    const style = window.getComputedStyle(list);
    const gap = parseFloat(style.rowGap) || 0;
    const columns = style.gridTemplateColumns.split(" ").length;
    const height = people[0].getBoundingClientRect().height;
    const rows = Math.max(1, Math.floor((list.getBoundingClientRect().height + gap) / (height + gap)));
    const fits = rows * columns;
    const pages = Math.ceil(people.length / fits);
    page = (page + step) % pages;
    // Pages of nearly the same size, so that the last one does not hold two people; of whole rows.
    const each = Math.ceil(Math.ceil(people.length / pages) / columns) * columns;
    people.forEach(function (one, n) { one.hidden = Math.floor(n / each) !== page; });
    told.textContent = pages > 1 ? (page + 1) + " / " + pages : "";
  }

  new MutationObserver(function () { lay(0); }).observe(live, { childList: true, subtree: true });
  window.addEventListener("resize", function () { lay(0); });
  setInterval(function () { lay(1); }, EVERY_MS);
  lay(0);
})();
