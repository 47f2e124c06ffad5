/* Four words for the DOM that all parts use. */
export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

/** Run `handler(element, event)` when `type` happens in an element that matches, also if it arrives later. */
export function on(type, selector, handler, options) {
  document.addEventListener(
    type,
    (event) => {
      const element = event.target instanceof Element ? event.target.closest(selector) : null;
      if (element) handler(element, event);
    },
    options,
  );
}

/** Run `handler(element)` for every matching element, now and after htmx brings new ones. */
export function each(selector, handler) {
  const seen = new WeakSet();
  const look = (root) => {
    for (const element of $$(selector, root)) {
      if (seen.has(element)) continue;
      seen.add(element);
      handler(element);
    }
  };
  look(document);
  document.addEventListener("htmx:after:swap", () => look(document));
  document.addEventListener("ostoja:added", () => look(document));
}
