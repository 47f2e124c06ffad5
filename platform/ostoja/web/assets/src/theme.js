/* Sets the dark class before the first paint, from the remembered choice or the system's; loaded in <head>, blocking. Paper is white. */
const root = document.documentElement;
const system = matchMedia("(prefers-color-scheme: dark)");
const paper = matchMedia("print");
const wanted = () => root.dataset.theme === "dark" || (root.dataset.theme !== "light" && system.matches);
const apply = () => root.classList.toggle("dark", wanted() && !paper.matches);
apply();
for (const query of [system, paper]) query.addEventListener("change", apply);
window.ostojaTheme = (choice) => {
  root.dataset.theme = choice;
  const year = 60 * 60 * 24 * 365;
  document.cookie = `ostoja_theme=${choice};path=/;max-age=${year};samesite=lax${location.protocol === "https:" ? ";secure" : ""}`;
  apply();
};
