// Check-in without a face: a name to touch or an id to type, then six digits.
"use strict";

import { $, element, lang, onLanguage, post, said, word } from "./page.js";
import { greet } from "./greeting.js";

const LETTERS = "1234567890-ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const LENGTH = 6; // digits of a PIN (commands.md)
const QUIET_MS = 45_000; // an abandoned pad closes, and forgets what was typed

let people = [];
let step = "names"; // names, type, digits
let who = null; // {official, name}
let typed = "";
let digits = "";
let second = false;
let busy = false;
let touched = 0;
let result = null;

export function padNames(list) {
  people = list;
  if ($("pad").open && step === "names") paint();
}

/** Open the pad; `person` where the kiosk already knows who must give the PIN. */
export function openPad(person) {
  who = person;
  second = Boolean(person);
  step = person ? "digits" : people.length ? "names" : "type";
  typed = digits = "";
  result = null;
  touched = performance.now();
  paint();
  if (!$("pad").open) $("pad").showModal();
}

function paint() {
  $("p-title").textContent = word(step === "digits" ? (second ? "second_factor" : "enter_pin") : "pick_name");
  $("p-names").hidden = step !== "names";
  $("p-type").hidden = step !== "type";
  $("p-digits").hidden = step !== "digits";
  $("p-next").hidden = step !== "type";
  $("p-next").disabled = !typed;
  $("p-swap").textContent = word(step === "digits" ? "back" : step === "names" ? "type_id" : people.length ? "pick_list" : "back");
  $("p-result").textContent = busy ? word("checking") : said(result);
  if (step === "names") {
    const collator = new Intl.Collator(lang === "en" ? "en" : "zh-CN");
    const sorted = [...people].sort((a, b) => collator.compare(a.name, b.name));
    $("p-names").replaceChildren(...sorted.map((each) => element("button", { type: "button", "data-official": each.official, onclick: () => choose(each) }, each.name)));
  }
  $("p-id").textContent = typed || "—";
  $("p-who").textContent = who?.name ?? "";
  $("p-dots").textContent = "●".repeat(digits.length) + "○".repeat(LENGTH - digits.length);
  for (const key of $("p-keys").querySelectorAll("[data-say]")) key.textContent = word(key.dataset.say);
  $("p-letters").lastElementChild.setAttribute("aria-label", word("delete"));
}

function choose(person) {
  who = person;
  step = "digits";
  digits = "";
  result = null;
  paint();
  $("p-dots").focus();
}

function key(value) {
  touched = performance.now();
  if (busy) return;
  result = null;
  if (step === "digits") {
    if (value === "delete") digits = digits.slice(0, -1);
    else if (value === "clear") digits = "";
    else if (/^[0-9]$/.test(value) && digits.length < LENGTH) digits += value;
    paint();
    if (digits.length === LENGTH) send();
    return;
  }
  if (step === "names") {
    if (!/^[0-9A-Za-z-]$/.test(value)) return;
    step = "type"; // a keyboard starts typing an id at once
  }
  if (value === "delete") typed = typed.slice(0, -1);
  else if (value === "clear") typed = "";
  else if (/^[0-9A-Za-z-]$/.test(value) && typed.length < 32) typed += value;
  paint();
}

async function send() {
  busy = true;
  paint();
  const answer = await post("/pin", { official: who.official, pin: digits });
  busy = false;
  digits = "";
  if (answer.ok) {
    $("pad").close();
    if (answer.greeting) greet(answer.greeting, () => Date.now());
    return;
  }
  result = answer;
  paint();
}

function next() {
  if (typed) choose({ official: typed, name: typed });
}

$("p-letters").append(
  ...[...LETTERS].map((letter) => element("button", { type: "button", onclick: () => key(letter) }, letter)),
  element("button", { type: "button", "data-key": "delete", onclick: () => key("delete") }, "⌫"),
);
$("p-keys").append(
  ...[..."123456789"].map((digit) => element("button", { type: "button", onclick: () => key(digit) }, digit)),
  element("button", { type: "button", class: "small", "data-say": "clear", onclick: () => key("clear") }),
  element("button", { type: "button", onclick: () => key("0") }, "0"),
  element("button", { type: "button", class: "small", "data-say": "delete", onclick: () => key("delete") }),
);
$("p-close").addEventListener("click", () => $("pad").close());
$("p-next").addEventListener("click", next);
$("p-swap").addEventListener("click", () => {
  touched = performance.now();
  if (step === "names") step = "type";
  else if (step === "digits" && !second) step = people.length && !typed ? "names" : "type";
  else if (people.length && !second) step = "names";
  else { $("pad").close(); return; }
  digits = "";
  result = null;
  paint();
});
$("pad").addEventListener("close", () => { typed = digits = ""; who = result = null; });
$("pad").addEventListener("pointerdown", () => { touched = performance.now(); });
document.addEventListener("keydown", (event) => {
  if (!$("pad").open || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "Backspace") key("delete");
  else if (event.key === "Enter" && step === "type" && event.target.tagName !== "BUTTON") { next(); event.preventDefault(); }
  else if (/^[0-9A-Za-z-]$/.test(event.key)) key(event.key);
});
setInterval(() => {
  if ($("pad").open && !busy && performance.now() - touched > QUIET_MS) $("pad").close();
}, 1000);
onLanguage(paint);
