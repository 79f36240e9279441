// Check-in without a face: a name to touch, or letters and ids to type, then six digits.
"use strict";

import { $, element, onLanguage, pieces, post, put, said, word } from "./page.js";
import { greet } from "./greeting.js";
import { noticeOpen } from "./notice.js";
import { wholeRows } from "./rows.js";

const LETTERS = "1234567890-ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const LENGTH = 6; // digits of a PIN (commands.md)
const QUIET_MS = 45_000; // an abandoned pad closes, and forgets what was typed
const FOUND = 4; // names offered above the keys while something is typed

const fitNames = wholeRows($("p-names"), $("p-names"), $("p-more"));

let people = [];
let step = "names"; // names, type, digits
let who = null; // {official, name}
let letter = ""; // the index letter that is chosen
let typed = "";
let digits = "";
let asked = null; // {ticket, why} where the kiosk already knows who must give the PIN
let busy = false;
let touched = 0;
let result = null;
let sitting = 0; // counts who stood at the pad

export function padNames(list) {
  people = list;
  if ($("pad").open && step !== "digits") paint();
}

/** Open the pad; `person` (`official`, `name`, `why`, `ticket`) where it is known who must give the PIN. */
export function openPad(person) {
  sitting += 1;
  busy = false;
  who = person;
  asked = person;
  step = person ? "digits" : people.length ? "names" : "type";
  letter = typed = digits = "";
  result = null;
  touched = performance.now();
  paint();
  if (!$("pad").open) $("pad").showModal();
  $(step === "digits" ? "p-dots" : "p-title").focus();
}

/** Whether letters and digits typed now are meant for the pad. */
export const padOpen = () => $("pad").open && !noticeOpen();

const matches = (person, text) => {
  const small = text.toLowerCase();
  if (person.official.toLowerCase().startsWith(small)) return true;
  const letters = person.initials ?? [];
  return small.length <= letters.length && [...small].every((each, at) => letters[at].includes(each));
};

function inOrder(list) {
  const collator = new Intl.Collator("zh-CN"); // by pinyin, in both languages: the index is
  return [...list].sort((a, b) => collator.compare(a.name, b.name));
}

const nameButton = (each) => element("button", { type: "button", class: each.name.length > 6 ? "long" : "", "data-official": each.official, onclick: () => choose(each) }, ...pieces(each.name));

function paint() {
  const title = step !== "digits" ? (step === "names" ? "pick_name" : "type_name") : asked ? (asked.why ?? "second_factor") : "enter_pin";
  put($("p-title"), word(title));
  $("p-pick").hidden = step !== "names";
  $("p-type").hidden = step !== "type";
  $("p-digits").hidden = step !== "digits";
  put($("p-swap"), word(step === "digits" ? "back" : step === "names" ? "type_id" : people.length ? "pick_list" : "back"));
  const found = typed ? inOrder(people.filter((each) => matches(each, typed))) : [];
  const exact = people.some((each) => each.official.toLowerCase() === typed.toLowerCase());
  $("p-next").hidden = step !== "type" || exact;
  $("p-next").disabled = !typed;
  put($("p-next"), typed ? `${word("use_id")} ${typed}` : word("next"));
  if (step === "names") {
    const letters = [...new Set(people.flatMap((each) => [...(each.initials?.[0] ?? "")]))].sort();
    if (!letters.includes(letter)) letter = "";
    $("p-index").hidden = people.length <= 12;
    $("p-index").replaceChildren(...["", ...letters].map((each) => element("button", {
      type: "button", "data-letter": each, "aria-pressed": String(each === letter),
      onclick: () => { letter = each; touched = performance.now(); paint(); document.querySelector(`[data-letter="${each}"]`).focus(); },
    }, each === "" ? word("everybody") : each.toUpperCase())));
    const listed = people.filter((each) => !letter || each.initials?.[0]?.includes(letter));
    $("p-names").replaceChildren(...inOrder(listed).map(nameButton));
    fitNames();
  }
  $("p-found").replaceChildren(...found.slice(0, FOUND).map(nameButton));
  put($("p-id"), typed || word("type_hint"));
  $("p-id").classList.toggle("hint", !typed);
  put($("p-who"), who?.name ?? "");
  $("p-dots").replaceChildren(...Array.from({ length: LENGTH }, (_, at) => element("i", { class: at < digits.length ? "full" : "" })));
  $("p-dots").setAttribute("aria-label", `PIN ${digits.length}/${LENGTH}`);
  put($("p-result"), busy ? word("checking") : said(result));
  $("p-result").classList.toggle("calm", busy);
  for (const key of $("p-keys").querySelectorAll("[data-say]")) put(key, word(key.dataset.say));
  $("p-letters").lastElementChild.setAttribute("aria-label", word("delete"));
}

function choose(person) {
  who = person;
  step = "digits";
  digits = "";
  result = null;
  touched = performance.now();
  paint();
  $("p-dots").focus();
}

/** A key, of the screen's pad or of a keyboard: a character, `delete` or `clear`. */
export function padKey(value) {
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
    step = "type"; // a keyboard starts typing at once
  }
  if (value === "delete") typed = typed.slice(0, -1);
  else if (value === "clear") typed = "";
  else if (/^[0-9A-Za-z-]$/.test(value) && typed.length < 32) typed += value.toUpperCase();
  paint();
}

/** Enter, where no button has the focus: the only name found, else the id as typed. */
export function padEnter() {
  if (step !== "type" || !typed) return;
  const found = people.filter((each) => matches(each, typed));
  choose(found.length === 1 ? found[0] : { official: typed, name: typed });
}

async function send() {
  const mine = sitting;
  busy = true;
  paint();
  const sent = { official: who.official, pin: digits };
  if (asked?.ticket) sent.ticket = asked.ticket;
  let answer = await post("/pin", sent);
  while (answer.wait_s) {
    // The kiosk takes the check-in a little later: it is sent again without another touch, also
    // where the pad was closed meanwhile; what is promised to one person is not shown to the next.
    await countDown(answer, mine);
    answer = await post("/pin", sent);
  }
  if (mine !== sitting) return;
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

function countDown(answer, mine) {
  return new Promise((resolve) => {
    let left = answer.wait_s;
    const turn = () => {
      if (mine === sitting) {
        touched = performance.now();
        put($("p-result"), `${said(answer)} (${left})`);
      }
      if (left-- <= 0) resolve();
      else setTimeout(turn, 1000);
    };
    turn();
  });
}

$("p-letters").append(
  ...[...LETTERS].map((each) => element("button", { type: "button", onclick: () => padKey(each) }, each)),
  element("button", { type: "button", "data-key": "delete", onclick: () => padKey("delete") }, "⌫"),
);
$("p-keys").append(
  ...[..."123456789"].map((digit) => element("button", { type: "button", onclick: () => padKey(digit) }, digit)),
  element("button", { type: "button", class: "small", "data-say": "clear", onclick: () => padKey("clear") }),
  element("button", { type: "button", onclick: () => padKey("0") }, "0"),
  element("button", { type: "button", class: "small", "data-say": "delete", onclick: () => padKey("delete") }),
);
$("p-close").addEventListener("click", () => $("pad").close());
$("p-next").addEventListener("click", () => { if (typed) choose({ official: typed, name: typed }); });
$("p-swap").addEventListener("click", back);
function back() {
  touched = performance.now();
  if (step === "names") step = "type";
  else if (step === "digits" && !asked) step = people.length && !typed ? "names" : "type";
  else if (step === "type" && people.length) { step = "names"; typed = ""; }
  else { $("pad").close(); return; }
  digits = "";
  result = null;
  paint();
}
// Escape goes one step back, as the button does.
$("pad").addEventListener("cancel", (event) => {
  if (step === "names" || asked || busy) return;
  event.preventDefault();
  back();
});
$("pad").addEventListener("close", () => {
  if ($("pad").open) return; // told with the next frame: opened for the next person since
  sitting += 1;
  busy = false;
  typed = digits = "";
  who = asked = result = null;
});
$("pad").addEventListener("pointerdown", () => { touched = performance.now(); });
setInterval(() => {
  if (noticeOpen()) touched = performance.now(); // who reads comes back to what they had begun
  if ($("pad").open && !busy && performance.now() - touched > QUIET_MS) $("pad").close();
}, 1000);
onLanguage(paint);
