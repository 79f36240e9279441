// Keeps the public board current: server-sent events, else polling, else it says that it is stale.
(function () {
  "use strict";
  const live = document.getElementById("live");
  if (!live || !window.fetch) return;
  const POLL_MS = 5000;      // how often to ask while no stream is open
  const SILENT_MS = 25000;   // beats come every 10 s; two and a half missed mean silence
  const RETRY_MS = 60000;    // after the server had no stream left, try one again
  let version = live.dataset.version;
  let last = Date.now();
  let source = null;
  let polling = null;
  let etag = null;
  let busy = false;
  let again = false;

  function alive(clock) {
    last = Date.now();
    document.body.classList.remove("is-stale");
    const heard = document.getElementById("heard");
    if (clock && heard) heard.textContent = clock;
  }

  async function refresh() {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(live.dataset.rows, { cache: "no-store", credentials: "same-origin" });
      if (!answer.ok) { setTimeout(refresh, POLL_MS); return; }
      const html = await answer.text();
      version = answer.headers.get("Quxiang-Version") || version;
      live.innerHTML = html;
      alive(answer.headers.get("Quxiang-Clock"));
    } catch (error) {
      setTimeout(refresh, POLL_MS);  // not heard; what was told of must be shown all the same
    } finally {
      busy = false;
      if (again) { again = false; refresh(); }
    }
  }

  // What of the page changed since the version that it shows; the version itself comes after it.
  function apply(news) {
    const summary = live.querySelector(".summary");
    const people = live.querySelectorAll(".person, .tv-person");
    if (busy || !summary || news.from !== version) return;
    const found = live.querySelector("[data-people]");
    if (found) {
      // A search: whoever was found is asked for anew where the news tells of one of them, or of a
      // site; else there is nothing new here.
      const mine = found.dataset.people.split(" ");
      const head = document.createElement("div");
      head.innerHTML = news.head;
      const said = [head, summary].map(function (part) {
        const warning = part.querySelector(".warn");
        return warning ? warning.textContent : "";
      });
      const ours = Object.keys(news.people).some(function (n) { return mine.includes(n); });
      if (!ours && said[0] === said[1]) version = news.version;
      return;
    }
    if (Object.keys(news.people).some(function (n) { return !people[n]; })) return;
    summary.innerHTML = news.head;
    Object.keys(news.people).forEach(function (n) { people[n].outerHTML = news.people[n]; });
    version = news.version;
  }

  async function poll() {
    try {
      const headers = etag ? { "If-None-Match": etag } : {};
      const answer = await fetch(live.dataset.json, { cache: "no-store", headers: headers, credentials: "same-origin" });
      if (answer.status === 304) { alive(answer.headers.get("Quxiang-Clock")); return; }
      if (!answer.ok) return;
      const first = etag === null;
      etag = answer.headers.get("ETag");
      alive(answer.headers.get("Quxiang-Clock"));
      if (!first || answer.headers.get("Quxiang-Version") !== version) refresh();
    } catch (error) {
      // As above.
    }
  }

  function startPolling() {
    if (polling === null) { poll(); polling = setInterval(poll, POLL_MS); }
  }

  function stopPolling() {
    if (polling !== null) { clearInterval(polling); polling = null; }
  }

  function listen() {
    if (!window.EventSource) { startPolling(); return; }
    source = new EventSource(live.dataset.events);
    source.onopen = stopPolling;
    source.addEventListener("beat", function (event) { alive(event.data); });
    source.addEventListener("news", function (event) { apply(JSON.parse(event.data)); });
    source.addEventListener("board", function (event) {
      alive(null);
      if (event.data !== version) refresh();
    });
    source.onerror = function () {
      startPolling();
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, RETRY_MS);
    };
  }

  setInterval(function () {
    if (Date.now() - last > SILENT_MS) {
      document.body.classList.add("is-stale");
      startPolling();
    }
  }, 1000);
  window.addEventListener("pagehide", function () { if (source) source.close(); });
  window.addEventListener("pageshow", function (event) { if (event.persisted) window.location.reload(); });
  listen();
})();
