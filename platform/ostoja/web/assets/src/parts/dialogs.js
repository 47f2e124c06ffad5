/* Dialogs: what the server sends into #dialog is shown at once; confirmations; copy and reveal buttons. */
import { $, each, on } from "./dom.js";

each("dialog[data-open]", (dialog) => {
  const page = $("#main");
  const done = () => $("#main") !== page && dialog.close(); // the page came anew, with what the dialog was for
  document.addEventListener("htmx:after:swap", done);
  dialog.showModal();
  dialog.addEventListener("close", () => {
    document.removeEventListener("htmx:after:swap", done);
    dialog.remove();
  });
});
on("click", "[data-close]", (button) => button.closest("dialog")?.close());
on("click", "[data-dialog]", (button) => document.getElementById(button.dataset.dialog)?.showModal());
/* a click on the backdrop closes, unless something was typed */
on("mousedown", "dialog.modal", (dialog, event) => {
  if (event.target === dialog && !dialog.querySelector("form[data-dirty]")) dialog.close();
});

/* <form data-confirm="Sentence?"> and buttons likewise ask in #confirm before they go on */
let asking = null;
const ask = (element, event, goOn) => {
  if (asking === element) {
    asking = null;
    return;
  }
  event.preventDefault();
  event.stopImmediatePropagation();
  const dialog = $("#confirm");
  $("[data-confirm-text]", dialog).textContent = element.dataset.confirm;
  const yes = $("[data-confirm-yes]", dialog);
  yes.textContent = element.dataset.confirmYes || yes.dataset.default;
  yes.dataset.variant = element.dataset.danger === undefined ? "primary" : "danger";
  dialog.returnValue = "";
  dialog.showModal();
  dialog.addEventListener(
    "close",
    () => {
      if (dialog.returnValue !== "yes") return;
      asking = element;
      goOn();
    },
    { once: true },
  );
};
on("submit", "form[data-confirm]", (form, event) => ask(form, event, () => form.requestSubmit(event.submitter)), true);
on("click", "button[data-confirm], a[data-confirm]", (button, event) => ask(button, event, () => button.click()), true);

on("click", "[data-copy]", async (button) => {
  await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
  button.classList.add("copied");
  const words = $("[data-copied]", button);
  if (words) words.textContent = words.dataset.copied;
});
on("click", "[data-reveal]", (button) => {
  const input = document.getElementById(button.dataset.reveal);
  const shown = input.type === "text";
  input.type = shown ? "password" : "text";
  button.setAttribute("aria-pressed", String(!shown));
});
