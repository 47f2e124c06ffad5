/* Lists: ticking rows (also a range with Shift), the bulk bar, filter forms that submit themselves. */
import { $, $$, each, on } from "./dom.js";

let last = null;
const boxes = (list) => $$("tbody .pick .cb", list);

function count(list) {
  const all = boxes(list);
  const ticked = all.filter((box) => box.checked);
  const bar = $(".bulk", list.closest("[data-list]"));
  const head = $("thead .cb", list);
  if (head) {
    head.checked = all.length > 0 && ticked.length === all.length;
    head.indeterminate = ticked.length > 0 && ticked.length < all.length;
  }
  if (!bar) return;
  bar.hidden = ticked.length === 0;
  const said = $("[data-said]", bar);
  const plural = new Intl.PluralRules(document.documentElement.lang).select(ticked.length);
  said.textContent = (said.dataset[plural] || said.dataset.other).replace("%", ticked.length);
}
on("click", ".pick .cb", (box, event) => {
  const list = box.closest("table");
  const all = boxes(list);
  if (box.closest("thead")) {
    for (const other of all) other.checked = box.checked;
  } else if (event.shiftKey && last && all.includes(last)) {
    const [from, to] = [all.indexOf(last), all.indexOf(box)].sort((a, b) => a - b);
    for (const other of all.slice(from, to + 1)) other.checked = box.checked;
  }
  last = box;
  count(list);
});
on("click", "[data-clear-selection]", (button) => {
  const list = $("table", button.closest("[data-list]"));
  for (const box of boxes(list)) box.checked = false;
  count(list);
});
each("table[data-pickable]", count);

/* a click anywhere in a row opens it, unless it was meant for something in the row */
on("click", "tr[data-href]", (row, event) => {
  if (event.target.closest("a, button, input, label, select") || String(getSelection())) return;
  if (event.ctrlKey || event.metaKey) window.open(row.dataset.href, "_blank", "noopener");
  else location.href = row.dataset.href;
});
/* j and k walk over the rows */
document.addEventListener("keydown", (event) => {
  if (!["j", "k"].includes(event.key) || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input:not([type=checkbox]), textarea, select") || $("dialog[open]")) return;
  const leads = $$("tr .lead");
  if (!leads.length) return;
  const here = leads.findIndex((lead) => lead.closest("tr").contains(document.activeElement));
  leads[Math.max(0, Math.min(leads.length - 1, here + (event.key === "j" ? 1 : -1)))].focus();
});

on("change", "form[data-autosubmit]", (form, event) => {
  if (event.target.matches("[type=search]")) return;
  form.requestSubmit();
});
/* a filter's operators decide how many values it wants */
on("change", "[data-operator]", (select) => {
  const empty = select.value.endsWith("empty");
  for (const field of $$("[data-filter-value]", select.form)) field.hidden = empty;
});
