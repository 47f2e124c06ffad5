/* Builds everything in ../static/ostoja/: style sheet, scripts, icon sprite and font subset. `npm ci && npm run build`. */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, crc32, gzipSync } from "node:zlib";

import { build, context } from "esbuild";
import subsetFont from "subset-font";

const here = dirname(fileURLToPath(import.meta.url));
const modules = join(here, "node_modules");
const out = join(here, "..", "static", "ostoja");
const watch = process.argv.includes("--watch");
mkdirSync(out, { recursive: true });

/** One sprite with the Lucide icons that icons.txt names, each as <symbol id="name">. */
function sprite() {
  const names = readFileSync(join(here, "icons.txt"), "utf8").split("\n").filter(Boolean);
  const symbols = names.map((name) => {
    const svg = readFileSync(join(modules, "lucide-static", "icons", `${name}.svg`), "utf8");
    const body = svg.slice(svg.indexOf(">", svg.indexOf("<svg")) + 1, svg.lastIndexOf("</svg>"));
    return `<symbol id="${name}" viewBox="0 0 24 24">${body.replace(/\s*\n\s*/g, "").replaceAll(" />", "/>")}</symbol>`;
  });
  symbols.push(readFileSync(join(here, "src", "mark.svg"), "utf8").replace(/\s*\n\s*/g, " ").trim());
  const note = "<!-- Lucide icons, ISC License, lucide.dev/license -->";
  writeFileSync(join(out, "icons.svg"), `${note}<svg xmlns="http://www.w3.org/2000/svg">${symbols.join("")}</svg>\n`);
}

/** Inter, cut down to Latin-1, the rest of the Polish alphabet and the punctuation and arrows that we print. */
async function font() {
  const polish = "ĄĆĘŁŃÓŚŹŻąćęłńóśźż";
  const more = "–—‘’‚“”„†•…‰‹›€™←↑→↓↵⌘−≈≠≤≥ \u00a0\u2009\u202f";
  let latin1 = "";
  for (let code = 0x20; code <= 0xff; code += 1) latin1 += String.fromCodePoint(code);
  // fontsource splits the alphabet over files; the two parts are subset alone and joined again by unicode-range
  const parts = { "inter-latin": latin1 + more, "inter-polish": polish + more };
  const source = { "inter-latin": "inter-latin-wght-normal", "inter-polish": "inter-latin-ext-wght-normal" };
  for (const [name, text] of Object.entries(parts)) {
    const file = readFileSync(join(modules, "@fontsource-variable", "inter", "files", `${source[name]}.woff2`));
    const made = await subsetFont(file, text, { targetFormat: "woff2", variationAxes: { wght: { min: 400, max: 700 } } });
    writeFileSync(join(out, `${name}.woff2`), made);
  }
  copyFileSync(join(modules, "@fontsource-variable", "inter", "LICENSE"), join(out, "inter-LICENSE.txt"));
}

/** Tailwind reads the templates and the Python of ../ for class names. */
function styles() {
  const tailwind = join(modules, ".bin", "tailwindcss");
  const args = ["--input", join(here, "src", "app.css"), "--output", join(out, "app.css"), "--minify"];
  execFileSync(tailwind, watch ? [...args, "--watch"] : args, { cwd: here, stdio: "inherit" });
}

const scripts = {
  entryPoints: ["app", "board", "frame", "theme"].map((name) => join(here, "src", `${name}.js`)),
  outdir: out,
  bundle: true,
  minify: true,
  format: "iife",
  target: ["es2022"],
  legalComments: "inline",
  logLevel: "warning",
};

sprite();
await font();
copyFileSync(join(here, "src", "favicon.svg"), join(out, "favicon.svg"));
/** The fonts' addresses in the style sheet change with their content, as `{% asset %}` does it for everything else. */
function version() {
  const file = join(out, "app.css");
  const css = readFileSync(file, "utf8").replace(/url\((inter-\w+\.woff2)\)/g, (_, name) => {
    return `url(${name}?v=${crc32(readFileSync(join(out, name))).toString(16).padStart(8, "0")})`;
  });
  writeFileSync(file, css);
}

/** WhiteNoise sends what lies beside a file as .br or .gz. */
function compress(name) {
  const bytes = readFileSync(join(out, name));
  writeFileSync(join(out, `${name}.gz`), gzipSync(bytes, { level: 9 }));
  writeFileSync(join(out, `${name}.br`), brotliCompressSync(bytes));
}

if (watch) {
  await (await context(scripts)).watch();
  styles();
} else {
  await build(scripts);
  styles();
  version();
  ["app.css", "app.js", "board.js", "frame.js", "theme.js", "icons.svg", "favicon.svg"].forEach(compress);
  for (const name of ["app.css", "app.js", "board.js", "frame.js", "theme.js", "icons.svg", "inter-latin.woff2", "inter-polish.woff2"]) {
    const bytes = readFileSync(join(out, name));
    const sent = name.endsWith("woff2") ? bytes.length : gzipSync(bytes, { level: 9 }).length;
    console.log(`${name.padEnd(20)} ${(bytes.length / 1024).toFixed(1).padStart(7)} KB  ${(sent / 1024).toFixed(1).padStart(6)} KB sent`);
  }
}
