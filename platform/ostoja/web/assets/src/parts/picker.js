/* <ostoja-picker>: a relation chosen by typing; the server answers with options, the hidden input keeps the id. */
import { $, $$ } from "./dom.js";

class Picker extends HTMLElement {
  connectedCallback() {
    if (this.ready) return;
    this.ready = true;
    this.text = $("input[role=combobox]", this);
    this.value = $("input[type=hidden]", this);
    this.list = $("[role=listbox]", this);
    this.clear = $("[data-clear]", this);
    this.chosen = this.text.value;
    this.text.addEventListener("input", () => this.later(160));
    this.text.addEventListener("focus", () => this.text.select());
    this.text.addEventListener("click", () => this.list.hidden && this.ask());
    this.text.addEventListener("keydown", (event) => this.key(event));
    this.text.addEventListener("blur", () => setTimeout(() => this.leave(), 120));
    this.list.addEventListener("mousedown", (event) => event.preventDefault());
    this.list.addEventListener("click", (event) => this.take(event.target.closest("[role=option]")));
    this.clear?.addEventListener("click", () => {
      this.choose("", "");
      this.text.focus();
    });
  }

  later(wait) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(), wait);
  }

  async ask() {
    const url = new URL(this.dataset.url, location.href);
    const typed = this.text.value === this.chosen ? "" : this.text.value.trim();
    if (typed) url.searchParams.set("q", typed);
    this.asked?.abort();
    this.asked = new AbortController();
    try {
      const answer = await fetch(url, { headers: { "HX-Request": "true" }, signal: this.asked.signal });
      if (!answer.ok) return;
      this.list.innerHTML = await answer.text();
    } catch (error) {
      if (error.name === "AbortError") return;
      throw error;
    }
    this.open(true);
    this.point(0);
  }

  options() {
    return $$("[role=option]", this.list);
  }

  point(index) {
    const all = this.options();
    if (!all.length) return;
    const to = (index + all.length) % all.length;
    all.forEach((option, i) => {
      option.id ||= `${this.list.id}-${i}`;
      option.setAttribute("aria-selected", String(i === to));
    });
    all[to].scrollIntoView({ block: "nearest" });
    this.text.setAttribute("aria-activedescendant", all[to].id);
  }

  key(event) {
    const here = this.options().findIndex((option) => option.getAttribute("aria-selected") === "true");
    if (event.key === "ArrowDown") this.list.hidden ? this.ask() : this.point(here + 1);
    else if (event.key === "ArrowUp") this.point(here - 1);
    else if (event.key === "Enter" && !this.list.hidden) this.take(this.options()[here]);
    else if (event.key === "Escape" && !this.list.hidden) {
      this.open(false);
      event.stopPropagation();
    } else return;
    event.preventDefault();
  }

  take(option) {
    if (option) this.choose(option.dataset.value, option.dataset.label);
  }

  choose(value, label) {
    this.value.value = value;
    this.text.value = label;
    this.chosen = label;
    if (this.clear) this.clear.hidden = !value;
    this.open(false);
    this.value.dispatchEvent(new Event("input", { bubbles: true }));
    this.value.dispatchEvent(new Event("change", { bubbles: true }));
  }

  leave() {
    this.open(false);
    if (this.text.value.trim() === "" && this.chosen) this.choose("", "");
    else this.text.value = this.chosen;
  }

  open(yes) {
    this.list.hidden = !yes;
    this.text.setAttribute("aria-expanded", String(yes));
  }
}
customElements.define("ostoja-picker", Picker);
