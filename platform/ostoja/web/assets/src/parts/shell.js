/* The frame: drawer on a phone, theme, menus, command palette and shortcuts. */
import { $, $$, on } from "./dom.js";

/* drawer */
const shell = $(".shell");
const drawer = (open) => {
  shell?.classList.toggle("side-open", open);
  if (open) $(".side a, .side button")?.focus();
};
on("click", "[data-drawer]", (button) => drawer(button.dataset.drawer === "open"));

/* the settings' pages stand in a line on a phone: the open one is in sight */
$('.settings > nav [aria-current="page"]')?.scrollIntoView({ block: "nearest", inline: "center" });

/* theme */
const markTheme = () => {
  const now = document.documentElement.dataset.theme || "system";
  for (const button of $$("[data-theme-choice]")) button.setAttribute("aria-pressed", String(button.dataset.themeChoice === now));
};
markTheme();
on("click", "[data-theme-choice]", (button) => {
  window.ostojaTheme(button.dataset.themeChoice);
  markTheme();
});

/* menus: popovers placed beside their button */
const invokers = new Map();
on("click", "[popovertarget]", (button) => invokers.set(button.getAttribute("popovertarget"), button), true);
/** The button that opened a menu; a menu may have many. */
export function invoker(menu) {
  const known = invokers.get(menu.id);
  return known?.isConnected ? known : $(`[popovertarget="${CSS.escape(menu.id)}"]`);
}
function place(menu) {
  const button = invoker(menu);
  if (!button) return;
  const at = button.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = menu;
  const left = menu.dataset.align === "end" ? at.right - width : at.left;
  const below = at.bottom + 4 + height <= innerHeight;
  menu.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
  menu.style.top = `${below ? at.bottom + 4 : Math.max(8, at.top - height - 4)}px`;
}
document.addEventListener(
  "toggle",
  (event) => {
    const menu = event.target;
    if (!(menu instanceof HTMLElement) || !menu.matches(".menu[popover]")) return;
    const open = event.newState === "open";
    invoker(menu)?.setAttribute("aria-expanded", String(open));
    menu.dispatchEvent(new CustomEvent("menu:toggle", { bubbles: true, detail: { open, button: invoker(menu) } }));
    if (!open) return;
    place(menu);
    (menu.querySelector("input:not([type=hidden]), select") || menu.querySelector(".menu-item:not([hidden])"))?.focus({ preventScroll: true });
  },
  true,
);
document.addEventListener("htmx:after:swap", () => {
  for (const menu of $$(".menu:popover-open")) place(menu);
});
on("keydown", ".menu[popover]", (menu, event) => {
  if (!["ArrowDown", "ArrowUp", "Home", "End"].includes(event.key)) return;
  const items = $$(".menu-item:not([aria-disabled=true], [hidden])", menu);
  if (!items.length || event.target.matches("input:not([type=checkbox]):not([type=radio]), select, textarea")) return;
  event.preventDefault();
  const here = items.indexOf(document.activeElement);
  const to = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: items.length - 1 }[event.key];
  items[(to + items.length) % items.length].focus();
});
on("click", ".menu[popover] .menu-item:not([data-stay])", (item) => item.closest("[popover]").hidePopover());
/* the board and lists scroll under an open menu: close it rather than let it float */
document.addEventListener(
  "scroll",
  (event) => {
    if (event.target instanceof Element && event.target.closest(".menu")) return;
    for (const menu of $$(".menu:popover-open")) menu.hidePopover();
  },
  { capture: true, passive: true },
);

/* command palette */
const palette = $("#palette");
const options = () => $$("[role=option]", palette);
const point = (index) => {
  const all = options();
  if (!all.length) return;
  const to = (index + all.length) % all.length;
  all.forEach((option, i) => option.setAttribute("aria-selected", String(i === to)));
  all[to].scrollIntoView({ block: "nearest" });
  $("input", palette).setAttribute("aria-activedescendant", all[to].id);
};
const openPalette = () => {
  if (!palette || palette.open) return;
  palette.showModal();
  const input = $("input", palette);
  input.select();
  input.dispatchEvent(new Event("palette:open", { bubbles: true }));
};
if (palette) {
  on("click", "[data-palette]", openPalette);
  palette.addEventListener("click", (event) => event.target === palette && palette.close());
  palette.addEventListener("htmx:after:swap", () => point(0));
  palette.addEventListener("pointermove", (event) => {
    const option = event.target.closest("[role=option]");
    if (option && option.getAttribute("aria-selected") !== "true") point(options().indexOf(option));
  });
  palette.addEventListener("keydown", (event) => {
    const here = options().findIndex((option) => option.getAttribute("aria-selected") === "true");
    if (event.key === "ArrowDown") point(here + 1);
    else if (event.key === "ArrowUp") point(here - 1);
    else if (event.key === "Enter") options()[here]?.click();
    else return;
    event.preventDefault();
  });
  on("click", "#palette [data-do]", (option) => {
    palette.close();
    if (option.dataset.do === "theme") window.ostojaTheme(document.documentElement.classList.contains("dark") ? "light" : "dark");
    if (option.dataset.do === "keys") $("#keys")?.showModal();
    markTheme();
  });
}

/* shortcuts: only outside of fields */
const typing = (element) => element?.closest?.("input:not([type=checkbox]), textarea, select, [contenteditable]");
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    openPalette();
    return;
  }
  if (event.key === "Escape" && shell?.classList.contains("side-open")) drawer(false);
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || $("dialog[open]")) return;
  if (event.key === "?") {
    event.preventDefault();
    $("#keys")?.showModal();
    return;
  }
  const target = $$("[data-key]").find((element) => element.dataset.key === event.key && element.offsetParent !== null);
  if (!target) return;
  event.preventDefault();
  if (target.matches("input")) target.focus();
  else target.click();
});
