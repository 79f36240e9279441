// A page that is read for long keeps itself current without being loaded anew: what is focused or
// read aloud stays where it is unless something changed.
(function () {
  "use strict";
  const main = document.getElementById("fresh");
  if (!main || !window.fetch) return;
  let last = null;

  async function again() {
    try {
      const answer = await fetch(location.href, { cache: "no-store", credentials: "same-origin" });
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("fresh");
      if (!fresh) return;
      if (last === null) last = main.innerHTML;
      if (fresh.innerHTML !== last) main.innerHTML = last = fresh.innerHTML;
    } catch (error) {
      // Not heard; the next try comes.
    }
  }

  setInterval(again, 1000 * Number(main.dataset.seconds));
})();
