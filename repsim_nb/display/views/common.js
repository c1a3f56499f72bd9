// What every view needs; Python puts it in front of each of them.

const clamp = (value, low, high) => Math.max(low, Math.min(high, value));

// Names of layers differ at their end and begin alike: what is cut is the middle.
function ellipsis(ctx, text, width) {
  if (ctx.measureText(text).width <= width) return text;
  for (let keep = text.length - 1; keep > 1; keep -= 1) {
    const short = text.slice(0, Math.floor(keep / 3)) + "…" + text.slice(text.length - Math.ceil((2 * keep) / 3));
    if (ctx.measureText(short).width <= width) return short;
  }
  return "…";
}

// How much of the beginning and of the end is the same in all labels: whole words only.
function alike(labels) {
  const [first, ...rest] = labels, long = Math.min(...labels.map((label) => label.length)), at = (label, k) => label[label.length - 1 - k];
  let head = 0, tail = 0;
  while (head < long && rest.every((label) => label[head] === first[head])) head += 1;
  while (tail < long - head && rest.every((label) => at(label, tail) === at(first, tail))) tail += 1;
  while (head > 0 && /[\p{L}\p{N}]/u.test(first[head - 1])) head -= 1;
  while (tail > 0 && /[\p{L}\p{N}]/u.test(at(first, tail - 1))) tail -= 1;
  return [head, tail];
}

// A label without what it shares with the others: its end first, then its beginning.
function distinct(ctx, text, width, [head, tail]) {
  const end = text.length - tail;
  for (const from of head ? [0, head] : [0]) for (let keep = tail; keep >= 0; keep -= 1) {
    const short = (from ? "…" : "") + text.slice(from, end + keep) + (keep < tail ? "…" : "");
    if (ctx.measureText(short).width <= width) return short;
  }
  return ellipsis(ctx, text.slice(head, end), width);
}

// All labels, cut to a width. Those that would read the same lose what they share instead.
function cutLabels(ctx, labels, width) {
  const short = labels.map((label) => ellipsis(ctx, label, width)), same = new Map();
  short.forEach((text, k) => same.set(text, [...(same.get(text) || []), k]));
  for (const group of same.values()) {
    const full = group.map((k) => labels[k]);
    if (new Set(full).size < 2) continue;
    const shared = alike(full);
    for (const k of group) short[k] = distinct(ctx, labels[k], width, shared);
  }
  return short;
}

// Nothing is cut: words that do not fit begin another line, and long names break after a dot, slash, underscore or hyphen.
function wrap(ctx, text, width) {
  const lines = [], fits = (line) => ctx.measureText(line.trimEnd()).width <= width;
  for (const part of text.split("\n")) {
    let line = "";
    for (const word of part.split(/(?<= )/)) for (const piece of fits(word) ? [word] : word.split(/(?<=[./_-])/)) {
      if (line && !fits(line + piece)) { lines.push(line.trimEnd()); line = piece; } else line += piece;
    }
    if (line) lines.push(line.trimEnd());
  }
  return lines;
}

const LIGHT = { ink: "#222222", paper: "#ffffff", dark: false };  // of files

function themeOf(el) {
  const style = getComputedStyle(el), named = document.body.dataset.jpThemeLight;
  const ink = style.getPropertyValue("--jp-ui-font-color1").trim() || style.color || LIGHT.ink;
  const paper = style.getPropertyValue("--jp-layout-color0").trim() || style.getPropertyValue("--rs-paper").trim() || LIGHT.paper;
  return { ink, paper, dark: isLight(ink) ?? named === "false" };  // by the ink, since a page may be dark without a name
}

// Whether a color, as CSS writes it, is rather light; null if that is not known.
const LIGHT_COLORS = new Map();
function isLight(color) {
  if (!LIGHT_COLORS.has(color)) LIGHT_COLORS.set(color, lightness(color));
  return LIGHT_COLORS.get(color);
}

function lightness(color) {
  const ctx = element("canvas").getContext("2d");
  ctx.fillStyle = "#123456"; ctx.fillStyle = color;  // it comes back as #rrggbb or rgba(r, g, b, a)
  const hex = ctx.fillStyle.match(/^#(..)(..)(..)$/), parts = hex ? hex.slice(1).map((part) => parseInt(part, 16)) : (ctx.fillStyle.match(/^rgba?\(([^)]*)/)?.[1] || "").split(",").map(Number);
  return ctx.fillStyle === "#123456" || parts.length < 3 ? null : 0.299 * parts[0] + 0.587 * parts[1] + 0.114 * parts[2] > 128;
}

function element(kind, name, text = "") {
  const made = document.createElement(kind);
  if (name) made.className = name;
  if (text) made.textContent = text;
  return made;
}

// The parts of a view: a canvas, the tooltip over it, and the tools below.
function parts(el, name) {
  const stage = element("div", "rs-stage"), canvas = element("canvas"), tip = element("div", "rs-tip"), tools = element("div", "rs-tools");
  el.classList.add("rs-view", name);
  el.setAttribute("data-lm-suppress-shortcuts", "true");  // the keys are the view's, not the notebook's
  canvas.tabIndex = 0; canvas.setAttribute("role", "img"); tip.setAttribute("role", "status");
  stage.append(canvas, tip); el.append(stage, tools);
  return { stage, canvas, tip, tools };
}

function tool(tools, text, title, press) {
  const button = element("button", "rs-tool", text);
  button.type = "button"; button.title = title;
  if (text.length < 2) button.setAttribute("aria-label", title);
  button.addEventListener("click", press);
  tools.append(button);
  return button;
}

// Fit a canvas to a size in the pixels of the screen, and return its context in CSS pixels.
function fitted(canvas, width, height, ratio) {
  const across = Math.round(width * ratio), up = Math.round(height * ratio);
  if (canvas.width !== across || canvas.height !== up) {
    canvas.width = across; canvas.height = up;
    canvas.style.width = width + "px"; canvas.style.height = height + "px";
  }
  const ctx = canvas.getContext("2d");
  ctx.setTransform(1, 0, 0, 1, 0, 0); ctx.clearRect(0, 0, across, up); ctx.scale(ratio, ratio);
  return ctx;
}

// paint() draws in the next frame, however often it is asked for; `changed` is called when the room or the theme is another. end() ends that.
function painter(el, canvas, draw, changed) {
  let waiting = false, width = -1;
  const size = new ResizeObserver(() => { if (el.clientWidth !== width) { width = el.clientWidth; changed(); } });
  const theme = new MutationObserver(changed);
  theme.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "class"] });
  size.observe(el);
  const paint = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      if (!el.clientWidth) return;  // not in the page yet, or hidden: the observer calls when it is
      const start = performance.now();
      draw(Math.max(280, el.clientWidth - 4));  // within its padding
      canvas.dataset.milliseconds = (performance.now() - start).toFixed(2);
      canvas.dataset.drawn = String(Number(canvas.dataset.drawn || 0) + 1);
    });
  };
  return { paint, end: () => { size.disconnect(); theme.disconnect(); } };
}

// Place a tooltip next to a box of the stage: right of it, or left of it where there is no room.
function placeTip(tip, canvas, x, y, w, h) {
  tip.style.display = "block";
  const right = x + w + 8, room = canvas.clientWidth - tip.offsetWidth - 2, left = x - 8 - tip.offsetWidth;
  tip.style.left = (right <= room ? right : left >= 0 ? left : Math.max(0, room)) + "px";
  const beside = right <= room || left >= 0, top = beside ? y + h / 2 - tip.offsetHeight / 2 : y - tip.offsetHeight - 6;
  tip.style.top = clamp(top, 0, Math.max(0, canvas.clientHeight - tip.offsetHeight)) + "px";
}

// -- a view without a widget

// A state with what views use of a widget's model. `changed(names)` hears what a person chooses.
function plainModel(state, changed) {
  const held = { ...DEFAULTS, chosen: [], selected: [], presses: 0, picture: 1, seen: 0, ...state }, listeners = [];
  let fresh = new Set();
  const model = {
    get: (name) => held[name],
    set: (name, value) => {
      held[name] = value; fresh.add(name);
      for (const [names, call] of [...listeners]) if (names.includes("change:" + name)) call();
    },
    save_changes: () => { const names = [...fresh]; fresh = new Set(); if (names.length) changed?.(names, model); },
    on: (names, call) => listeners.push([names.split(" "), call]),
    off: (names, call) => { const at = listeners.findIndex(([known, other]) => other === call && known.join(" ") === names); if (at >= 0) listeners.splice(at, 1); },
  };
  return model;
}

// Draw a state in an element, with no widget and no kernel: -> its model, whose `set` draws again, and `end`.
function show(el, state, changed) {
  const model = plainModel(state, changed);
  return { model, end: render({ model, el }) };
}

// -- files

function fileName(title, ending) {
  return (title.replace(/×/g, "x").replace(/[^\p{L}\p{N}._-]+/gu, "_").replace(/^[_.]+|_+$/g, "").slice(0, 80) || "figure") + "." + ending;
}

function download(name, content) {
  const link = element("a");
  link.href = URL.createObjectURL(content); link.download = name;
  document.body.append(link); link.click(); link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function csvOf(rows) {
  const cell = (value) => { const text = value === null || value === undefined ? "" : String(value); return /[",\n\r]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text; };
  return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

// Buttons for the files of a picture: paint(ctx) draws it on white, size() is its size, rows() its numbers.
function exportTools(tools, { title, size, paint, rows }) {
  tool(tools, "PNG", "Download this picture as PNG", () => {
    const canvas = element("canvas"), [width, height] = size(), ctx = fitted(canvas, width, height, 2);
    ctx.fillStyle = LIGHT.paper; ctx.fillRect(0, 0, width, height);
    paint(ctx);
    canvas.toBlob((blob) => download(fileName(title(), "png"), blob), "image/png");
  });
  tool(tools, "SVG", "Download this picture as SVG", () => {
    const [width, height] = size(), ctx = new SvgContext(width, height);
    ctx.fillStyle = LIGHT.paper; ctx.fillRect(0, 0, width, height);
    paint(ctx);
    download(fileName(title(), "svg"), new Blob([ctx.text()], { type: "image/svg+xml" }));
  });
  tool(tools, "CSV", "Download the numbers of this picture as CSV", () => download(fileName(title(), "csv"), new Blob([csvOf(rows())], { type: "text/csv" })));
}
