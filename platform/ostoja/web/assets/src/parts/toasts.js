/* Toasts: from the page, from HX-Trigger `ostoja:toast`, and for requests that failed. */
import { $, each, on } from "./dom.js";

const leave = (card) => {
  card.classList.add("leaving");
  setTimeout(() => card.remove(), 200);
};
each(".toast-card[data-for]", (card) => {
  let left = setTimeout(() => leave(card), Number(card.dataset.for));
  card.addEventListener("pointerenter", () => clearTimeout(left));
  card.addEventListener("pointerleave", () => (left = setTimeout(() => leave(card), 2000)));
});
on("click", "[data-toast-close]", (button) => leave(button.closest(".toast-card")));

/** Show one sentence; `tone` is green, red, amber or blue. */
export function toast(text, tone = "blue") {
  const template = $("#toast-template");
  if (!template || !text) return;
  const card = template.content.firstElementChild.cloneNode(true);
  $("[data-text]", card).textContent = text;
  $("[data-tone]", card).dataset.tone = tone;
  if (tone === "red") card.setAttribute("role", "alert");
  $("#toasts").append(card);
  document.dispatchEvent(new Event("ostoja:added"));
}
document.addEventListener("ostoja:toast", (event) => toast(event.detail.text ?? event.detail.value?.text, event.detail.tone ?? event.detail.value?.tone));

/* answers that are not swapped say why in a header; without one, the words for the kind of failure */
document.addEventListener("htmx:response:error", (event) => {
  const { response } = event.detail.ctx ?? {};
  if (!response || response.status === 422) return;
  if (response.status === 401) {
    location.reload();
    return;
  }
  const said = response.headers.get("Ostoja-Says");
  const words = $("#toasts")?.dataset ?? {};
  toast(said ? decodeURIComponent(said) : response.status >= 500 ? words.fault : words.refused, "red");
});
document.addEventListener("htmx:error", (event) => {
  if (!event.detail.ctx?.response && event.detail.error?.name !== "AbortError") toast($("#toasts")?.dataset.offline, "red");
});
