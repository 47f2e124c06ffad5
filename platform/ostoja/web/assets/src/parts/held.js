/* What the premises keep: a note with its state, and their frame. It tells its height; nothing else is taken from it. */
import { $, $$, each, on } from "./dom.js";

const PATIENCE = 4000; // milliseconds until the premises count as out of reach
const HIDDEN = "ostoja_held_hidden";
const waiting = new WeakMap();
const hidden = () => localStorage.getItem(HIDDEN) === "1";

const show = (place, state) => {
  place.dataset.state = state;
  for (const words of $$("[data-state-of]", place)) words.hidden = !words.dataset.stateOf.split(" ").includes(state);
};
const load = (place) => {
  const frame = $("iframe", place);
  if (!frame) return show(place, "nowhere");
  if (hidden() && place.dataset.held !== "search") {
    frame.removeAttribute("src");
    frame.classList.remove("shown");
    return show(place, "hidden");
  }
  show(place, "asking");
  const theme = document.documentElement.dataset.theme || "system";
  const url = new URL(frame.dataset.src);
  url.searchParams.set("theme", theme);
  url.searchParams.set("lang", document.documentElement.lang);
  frame.src = url;
  clearTimeout(waiting.get(place));
  waiting.set(place, setTimeout(() => show(place, "away"), PATIENCE));
};

/* a list: one frame beside the table, its rows as high as ours; under it where rows are cards */
const rowsOf = (place) => {
  const table = place.dataset.held === "rows" ? place.closest("[data-list]")?.querySelector("table.grid-table") : null;
  if (!table) return null;
  const cards = getComputedStyle(table).display !== "table";
  const height = (row) => row.getBoundingClientRect().height;
  return cards ? { rows: [] } : { head: height($("thead tr", table)), rows: $$("tbody tr", table).map(height) };
};
const say = (place, message) => {
  const frame = $("iframe", place);
  if (frame?.src) frame.contentWindow.postMessage(message, place.dataset.origin);
};

addEventListener("message", (event) => {
  const place = $$("[data-held]").find((one) => $("iframe", one)?.contentWindow === event.source);
  if (!place || event.origin !== place.dataset.origin || event.data?.ostoja !== "height") return;
  const height = Number(event.data.height);
  if (!(height >= 0 && height < 20000)) return;
  clearTimeout(waiting.get(place));
  const frame = $("iframe", place);
  frame.style.height = `${height}px`;
  frame.classList.add("shown");
  show(place, "shown");
  if (place.dataset.held === "rows") say(place, { ostoja: "rows", ...rowsOf(place) });
  if (place.dataset.held === "search") words();
});
addEventListener("resize", () => {
  for (const place of $$("[data-held=rows]")) say(place, { ostoja: "rows", ...rowsOf(place) });
});

each("[data-held]", (place) => place.dataset.held !== "search" && load(place));
/* htmx morphs a list: what the script had set on the place is gone then */
document.addEventListener("htmx:after:swap", () => {
  for (const place of $$("[data-held]:not([data-held=search])")) if (!$("iframe", place)?.hasAttribute("src")) load(place);
});
on("click", "[data-held-again]", (button) => load(button.closest("[data-held]")));
on("click", "[data-held-hide]", () => {
  localStorage.setItem(HIDDEN, hidden() ? "0" : "1");
  for (const place of $$("[data-held]:not([data-held=search])")) load(place);
});

/* search: what is typed goes from this browser to the premises' own frame */
const palette = $("#palette");
const words = () => {
  const place = palette && $("[data-held=search]", palette);
  if (place?.dataset.state === "shown") say(place, { ostoja: "search", words: $("input", palette).value });
};
let typed = 0;
palette?.addEventListener("palette:open", () => {
  const place = $("[data-held=search]", palette);
  if (place && place.dataset.state !== "shown") load(place);
  else words();
});
palette?.addEventListener("input", () => {
  clearTimeout(typed);
  typed = setTimeout(words, 160);
});
