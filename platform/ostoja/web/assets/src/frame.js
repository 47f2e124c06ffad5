/* A page of the premises inside a page of the cloud: it tells its height and nothing else, and takes words to search for. */
const parent = document.body.dataset.parent;
const part = document.body.dataset.part;
const inside = window.parent !== window && parent;

/* the height goes to the one page that may hold this frame; exact origin, nothing else is ever sent */
const tell = () => inside && window.parent.postMessage({ ostoja: "height", height: Math.ceil(document.documentElement.getBoundingClientRect().height) }, parent);
if (inside) {
  new ResizeObserver(tell).observe(document.documentElement);
  tell();
}

/* rows stand beside those of the page around: it says how high its own are */
const align = ({ head, rows }) => {
  document.body.classList.toggle("aligned", Array.isArray(rows) && rows.length > 0);
  const lines = document.querySelectorAll("tbody tr");
  const set = (row, height) => row && row.style.setProperty("height", Number(height) > 0 ? `${Number(height)}px` : "");
  set(document.querySelector("thead tr"), head);
  lines.forEach((row, i) => set(row, rows?.[i]));
};

/* search: the words come from the page's own script in this browser and go to the premises, which is where this page is from */
const list = document.querySelector("[data-search]");
let asked = 0;
let last = null;
const search = async (words) => {
  if (words === last) return;
  last = words;
  const mine = ++asked;
  const body = new URLSearchParams({ q: words, seal: list.dataset.seal });
  const answer = await fetch(list.dataset.search, { method: "POST", body, credentials: "include" });
  if (answer.status === 401) return location.reload(); // signed out meanwhile: the frame asks to sign in again
  const html = answer.ok ? await answer.text() : "";
  if (mine === asked) list.replaceChildren(...new DOMParser().parseFromString(html, "text/html").body.children);
};
addEventListener("message", (event) => {
  if (!inside || event.origin !== parent || event.source !== window.parent || !event.data) return;
  if (event.data.ostoja === "search" && list && typeof event.data.words === "string") search(event.data.words.slice(0, 100));
  if (event.data.ostoja === "rows" && part === "rows") align(event.data);
});

/* coming in: a click opens a window of the premises; this frame looks whether it is somebody by now. Browsers that keep the
   cookies of third parties back ask the person once whether this frame may use that sign-in. */
const button = document.querySelector("[data-enter]");
const frames = button && new BroadcastChannel("ostoja-frames"); // other frames of this page, of this origin alone
const entered = async () => {
  const answer = await fetch(button.dataset.enter, { credentials: "include", cache: "no-store" }).catch(() => null);
  return Boolean(answer?.ok && (await answer.json()).entered);
};
const reload = () => {
  const url = new URL(location);
  url.searchParams.set("again", Number(url.searchParams.get("again") ?? 0) + 1);
  if (url.searchParams.get("again") < 4) location.replace(url); // never round and round
};
const come = () => {
  frames.postMessage("entered");
  reload();
};
const allowed = async () => (await navigator.permissions.query({ name: "storage-access" })).state === "granted";
const ask = () => document.requestStorageAccess?.();
if (button) {
  const use = async () => {
    if (document.requestStorageAccess && !(await document.hasStorageAccess()) && (await allowed())) await ask();
    if (await entered()) reload();
  };
  frames.addEventListener("message", () => use().catch(() => {}));
  allowed().then((yes) => yes && use()).catch(() => {});
  let looking = false;
  button.addEventListener("click", async (event) => {
    event.preventDefault();
    await ask()?.catch(() => {}); // refused: the window is still worth a try
    if (await entered()) return come();
    if (looking) return;
    looking = true;
    open(button.href, "_blank", "popup,noopener,width=480,height=640");
    for (const words of document.querySelectorAll("[data-asked]")) words.hidden = false;
    button.querySelector("[data-label]").textContent = button.dataset.again;
    const until = Date.now() + 5 * 60 * 1000;
    const look = async () => {
      if (await entered()) return come();
      looking = Date.now() < until;
      if (looking) setTimeout(look, 1500);
    };
    setTimeout(look, 1000);
  });
}

for (const input of document.querySelectorAll("[data-send]")) input.addEventListener("change", () => input.form.submit());
if (document.querySelector("[data-close-window]")) setTimeout(() => close(), 800);
