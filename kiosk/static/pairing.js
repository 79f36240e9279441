// Pairing without a shell: address and code by finger or keyboard, or a USB stick that does it alone.
"use strict";

import "./notice.js";
import { $, element, lang, onLanguage, post, put, switchLanguage, word } from "./page.js";

const KEYS = "1234567890.:-ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const fields = [$("server"), $("code")];
let chosen = fields[0];
let state = { step: "ask" };
let busy = false;
let started = false;

function choose(field) {
  chosen = field;
  for (const each of fields) each.classList.toggle("chosen", each === field);
}

function write(text) {
  const [from, to] = [chosen.selectionStart, chosen.selectionEnd];
  chosen.setRangeText(text, text ? from : Math.max(0, from === to ? from - 1 : from), to, "end");
  chosen.dispatchEvent(new Event("input"));
  chosen.focus();
}

// Groups of four as printed, whatever is typed; the address stays as it is.
function group() {
  const plain = $("code").value.toUpperCase().replace(/[^0-9A-Z]/g, "");
  const grouped = plain.match(/.{1,4}/g)?.join("-") ?? "";
  if ($("code").value !== grouped && $("code").selectionEnd === $("code").value.length) $("code").value = grouped;
}

function paint() {
  if (started) return; // the page of the kiosk itself comes next
  const paired = state.step === "paired";
  $("ask").hidden = paired;
  if ($("paired").hidden === paired) {
    $("paired").hidden = !paired;
    if (paired) $("go-on").focus();
  }
  if (paired) {
    put($("whose"), `${state.township} · ${state.site}`);
    put($("fingerprint"), state.fingerprint);
    put($("device"), `${state.device} · ${state.server}`);
    return;
  }
  const trying = busy || state.step === "trying";
  // Hyphens that do not break: a fingerprint is compared as one word.
  const mark = (state.fingerprint ?? "").replaceAll("-", "\u2011");
  const words = state[lang] ?? `${word("hint")} ${mark ? `${word("mark")} ${mark}` : ""}`;
  put($("told"), words.charAt(0).toUpperCase() + words.slice(1));
  $("told").classList.toggle("bad", !trying && Boolean(state.zh));
  $("told").classList.toggle("busy", trying);
  $("pair").disabled = trying || !$("server").value.trim() || !$("code").value.trim();
}

async function poll() {
  try {
    const reply = await fetch("/pairing.json", { cache: "no-store" });
    if (reply.status === 404) { location.replace("/"); return; } // the kiosk itself serves now
    if (reply.ok && !busy) { state = await reply.json(); paint(); }
  } catch {
    // Between the two: the kiosk is loading its networks.
    if (state.step === "paired") for (const [id, hidden] of [["paired", true], ["ask", true], ["starting", false]]) $(id).hidden = hidden;
  }
  setTimeout(poll, 1000);
}

$("keys").append(...[...KEYS].map((key) => element("button", { type: "button", onclick: () => write(chosen === $("server") ? key.toLowerCase() : key) }, key)));
for (const field of fields) field.addEventListener("focus", () => choose(field));
for (const field of fields) field.addEventListener("input", () => { if (field === $("code")) group(); if (state.zh && state.step === "ask") delete state.zh, delete state.en; paint(); });
$("erase").addEventListener("click", () => write(""));
$("other").addEventListener("click", () => { choose(fields[1 - fields.indexOf(chosen)]); chosen.focus(); });
$("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (busy || $("pair").disabled) return;
  busy = true;
  state = { ...state, step: "trying", zh: word("trying"), en: word("trying") };
  paint();
  const answer = await post("/pair", { server: $("server").value.trim(), code: $("code").value.trim() });
  busy = false;
  state = answer.step ? answer : { ...state, step: "ask", zh: answer.zh ?? word("failed"), en: answer.en ?? word("failed") };
  paint();
});
$("go-on").addEventListener("click", async () => {
  await post("/go-on", {});
  started = true;
  $("paired").hidden = true;
  $("starting").hidden = false;
  state = { ...state, step: "paired" };
});
$("language").addEventListener("click", switchLanguage);
onLanguage(paint);
choose(fields[0]);
fields[0].focus();
paint();
poll();
