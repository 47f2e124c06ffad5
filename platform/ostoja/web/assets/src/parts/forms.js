/* Forms: rows of lines, unsaved changes, files dropped in, the company address that follows the company's name. */
import { $, $$, each, on } from "./dom.js";

/* lines: <table class="lines" data-lines="prefix"> with a <template>, numbered as a Django formset wants it */
const renumber = (table) => {
  const prefix = table.dataset.lines;
  const rows = $$("tbody tr", table);
  rows.forEach((row, index) => {
    const position = $("[data-position]", row);
    if (position) position.value = index + 1;
  });
  $(`[name="${prefix}-TOTAL_FORMS"]`).value = rows.length;
};
on("click", "[data-add-line]", (button) => {
  const table = $(`[data-lines="${button.dataset.addLine}"]`);
  const body = $("tbody", table);
  const html = $("template", table.parentElement).innerHTML.replaceAll("__prefix__", $$("tr", body).length);
  body.insertAdjacentHTML("beforeend", html);
  const row = body.lastElementChild;
  window.htmx.process(row);
  renumber(table);
  document.dispatchEvent(new Event("ostoja:added"));
  $("input:not([type=hidden]), select, textarea", row)?.focus();
  table.closest("form").dataset.dirty = "";
});
on("click", "[data-remove-line]", (button) => {
  const row = button.closest("tr");
  $("[name$=-DELETE]", row).value = "on";
  row.classList.add("gone");
  for (const field of $$("[required]", row)) field.required = false;
  row.closest("form").dataset.dirty = "";
});

/* unsaved changes */
on("input", "form[data-guard], dialog form", (form) => (form.dataset.dirty = ""));
on("submit", "form", (form) => {
  delete form.dataset.dirty;
  $("[data-busy]", form)?.classList.add("htmx-request");
});
addEventListener("beforeunload", (event) => {
  if ($("form[data-guard][data-dirty]")) event.preventDefault();
});
/* a session that ended meanwhile costs a sign-in, not what was typed: kept in this tab until the page behind the form opens */
const KEPT = "ostoja-kept";
on("submit", "form[data-guard][data-keep]", (form) => {
  const pairs = [...new FormData(form)].filter(([name, value]) => typeof value === "string" && name !== "csrfmiddlewaretoken");
  sessionStorage.setItem(KEPT, JSON.stringify({ path: location.pathname, pairs }));
});
const kept = JSON.parse(sessionStorage.getItem(KEPT) || "null");
const signingIn = location.pathname === "/sign-in";
if (kept && !signingIn) sessionStorage.removeItem(KEPT);
each("form[data-guard][data-keep]", (form) => {
  if (kept?.path !== location.pathname || !document.referrer.includes("/sign-in")) return;
  for (const [name, value] of kept.pairs) {
    const field = form.elements.namedItem(name);
    if (!(field instanceof HTMLElement) || field.type === "hidden") continue;
    if (field.type === "checkbox") field.checked = true;
    else field.value = value;
  }
  form.dataset.dirty = "";
});
on("keydown", "form[data-guard]", (form, event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "Enter") form.requestSubmit();
});
/* an export of a list is of the list as it stands: search, filters and order come along */
on("submit", "form[data-with-query]", (form) => {
  form.action = form.getAttribute("action").split("?")[0] + location.search;
});
/* one click, one submit; the button comes back if the page is shown again */
on("submit", "form[method=post]:not([hx-post], [data-download])", (form, event) => {
  if (form.dataset.sent !== undefined) event.preventDefault();
  form.dataset.sent = "";
});
addEventListener("pageshow", () => {
  for (const form of $$("form[data-sent]")) delete form.dataset.sent;
});

/* an error summary is where a person should be after a refused form */
each("[data-focus]", (element) => element.focus());

/* dropping a file */
on("change", ".drop input[type=file]", (input) => {
  const said = $("[data-file-name]", input.closest(".drop"));
  if (said && input.files.length) said.textContent = [...input.files].map((file) => file.name).join(", ");
  if (input.dataset.send !== undefined && input.files.length) input.form.requestSubmit();
});
for (const type of ["dragenter", "dragover"]) {
  on(type, ".drop", (zone, event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
}
on("dragleave", ".drop", (zone) => zone.classList.remove("over"));
on("drop", ".drop", (zone, event) => {
  event.preventDefault();
  zone.classList.remove("over");
  const input = $("input[type=file]", zone);
  input.files = event.dataTransfer.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
});

/* sign-up: the address follows the company's name until somebody writes it by hand */
const slug = (text) =>
  text
    .normalize("NFKD")
    .replace(/[\u0300-\u036f]/g, "")
    .replace(/[łŁ]/g, "l")
    .replace(/ß/g, "ss")
    .toLowerCase()
    .replace(/\b(sp\.? ?z ?o\.? ?o\.?|s\.? ?a\.?|gmbh|ltd|inc|llc)\s*$/u, "")
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 40);
on("input", "[data-slug-source]", (source) => {
  const target = document.getElementById(source.dataset.slugSource);
  if (!target || target.dataset.touched !== undefined) return;
  target.value = slug(source.value);
  target.dispatchEvent(new Event("slug", { bubbles: true }));
});
on("input", "[data-slug]", (target) => {
  target.dataset.touched = "";
  target.value = target.value.toLowerCase().replace(/[^a-z0-9-]/g, "");
});
/* a select that colours itself by its value (the roles matrix) */
on("change", "select[data-value]", (select) => (select.dataset.value = select.value));
