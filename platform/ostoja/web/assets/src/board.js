/* Boards: cards dragged from lane to lane; the server says whether they may. The "Move to" menu does the same by keyboard. */
import Sortable from "sortablejs/modular/sortable.core.esm.js";

const lanes = () => document.querySelectorAll("[data-lane]");

async function move(card, from, to, before) {
  const body = new FormData();
  body.set("to", to.dataset.lane);
  body.set("version", card.dataset.version);
  card.classList.add("htmx-request");
  const token = JSON.parse(document.body.getAttribute("hx-headers:inherited") || "{}");
  const answer = await fetch(card.dataset.move, { method: "POST", body, headers: { ...token, "HX-Request": "true", "Ostoja-Board": "1" } }).catch(() => null);
  card.classList.remove("htmx-request");
  const html = answer ? await answer.text() : "";
  if (answer?.ok) {
    /* the answer holds the card anew and the heads of the lanes (hx-swap-oob), or a dialog that asks for more first */
    const parsed = new DOMParser().parseFromString(html, "text/html");
    const ask = parsed.querySelector("dialog");
    if (ask) put(card, from, before);
    for (const piece of parsed.querySelectorAll("[data-replace]")) {
      const old = document.getElementById(piece.id);
      old?.replaceWith(piece);
      window.htmx.process(piece);
    }
    if (ask) document.querySelector("#dialog").replaceChildren(ask);
    document.dispatchEvent(new Event("ostoja:added"));
    return;
  }
  put(card, from, before);
  const said = answer?.headers.get("Ostoja-Says");
  const words = document.querySelector("#toasts").dataset;
  const text = said ? decodeURIComponent(said) : answer ? words.refused : words.offline;
  document.dispatchEvent(new CustomEvent("ostoja:toast", { detail: { text, tone: "red" } }));
}

/** Put a card back where it was. */
function put(card, lane, before) {
  lane.insertBefore(card, before);
}

function start() {
  for (const lane of lanes()) {
    if (Sortable.get(lane)) continue;
    let before = null;
    Sortable.create(lane, {
      group: "board",
      draggable: "[data-movable]",
      filter: "a[data-add], button",
      preventOnFilter: false,
      animation: 140,
      delay: 120,
      delayOnTouchOnly: true,
      sort: false,
      onStart: (event) => (before = event.item.nextElementSibling),
      onEnd: (event) => event.from !== event.to && move(event.item, event.from, event.to, before),
    });
  }
}
start();
document.addEventListener("htmx:after:swap", start);

/* the keyboard's way: one menu, opened from the card that is to move */
let chosen = null;
document.addEventListener("menu:toggle", (event) => {
  if (event.target.id !== "move-menu" || !event.detail.open) return;
  chosen = event.detail.button.closest("[data-movable]");
  const here = chosen.closest("[data-lane]").dataset.lane;
  for (const item of event.target.querySelectorAll("[data-move-to]")) item.hidden = item.dataset.moveTo === here;
});
document.addEventListener("click", (event) => {
  const item = event.target.closest("[data-move-to]");
  if (!item || !chosen) return;
  const card = chosen;
  const to = [...lanes()].find((lane) => lane.dataset.lane === item.dataset.moveTo);
  const from = card.closest("[data-lane]");
  const before = card.nextElementSibling;
  to.prepend(card);
  card.querySelector("a").focus();
  move(card, from, to, before);
});
