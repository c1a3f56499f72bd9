// Points on a canvas, redrawn whole at every change (three hundred points with their paths take a few milliseconds).
const TRAITS = ["points", "labels", "notes", "colors", "shapes", "shown", "runs", "legend", "scale", "title", "subtitle", "footer", "chosen", "selected", "ringed"];
const NEAR = 12, SAME = 3, LINE = 17, RING = "#d55e00";

// In units of the mark's radius; a star has ten corners, two turns of five.
const star = Array.from({ length: 10 }, (_, k) => [(k % 2 ? 0.52 : 1.3) * Math.sin((k * Math.PI) / 5), -(k % 2 ? 0.52 : 1.3) * Math.cos((k * Math.PI) / 5)]);
const plus = [[-0.4, -1.1], [0.4, -1.1], [0.4, -0.4], [1.1, -0.4], [1.1, 0.4], [0.4, 0.4], [0.4, 1.1], [-0.4, 1.1], [-0.4, 0.4], [-1.1, 0.4], [-1.1, -0.4], [-0.4, -0.4]];
const CORNERS = {
  s: [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]], D: [[0, -1.2], [1.2, 0], [0, 1.2], [-1.2, 0]],
  "^": [[0, -1.15], [1.1, 0.85], [-1.1, 0.85]], v: [[0, 1.15], [1.1, -0.85], [-1.1, -0.85]],
  P: plus, X: plus.map(([x, y]) => [(x - y) * Math.SQRT1_2, (x + y) * Math.SQRT1_2]), "*": star,
};

function theme(el) {
  return { ink: inkOf(el), paper: getComputedStyle(el).getPropertyValue("--jp-layout-color0").trim() || "#ffffff", dark: document.body.dataset.jpThemeLight === "false" };
}

// Nothing is cut: words that do not fit begin another line.
function wrap(ctx, text, width) {
  const lines = [];
  for (const part of text.split("\n")) {
    let line = "";
    for (const word of part.split(" ")) {
      const longer = line ? line + " " + word : word;
      if (line && ctx.measureText(longer).width > width) { lines.push(line); line = word; } else line = longer;
    }
    if (line) lines.push(line);
  }
  return lines;
}

// 1, 2 or 5 times a power of ten: about five of them make the span.
function nice(span) {
  const rough = span / 5, power = 10 ** Math.floor(Math.log10(rough)), share = rough / power;
  return power * (share < 1.5 ? 1 : share < 3.5 ? 2 : share < 7.5 ? 5 : 10);
}

function layout(model, ctx, room) {
  const points = model.get("points"), legend = model.get("legend"), scale = model.get("scale");
  ctx.font = "12px sans-serif";
  const words = [...legend.flatMap(([heading, rows]) => [heading, ...rows.map(([label]) => label)]), ...(scale ? [scale[0]] : [])];
  const side = words.length ? Math.min(210, Math.max(60, ...words.map((w) => ctx.measureText(w).width)) + 34) : 12;
  const left = 46, w = Math.max(200, room - left - side - 8);
  const foot = wrap(ctx, model.get("footer"), room - 12), sub = wrap(ctx, model.get("subtitle"), room - 12);
  ctx.font = "600 13px sans-serif";
  const head = wrap(ctx, model.get("title"), room - 12), top = 4 + LINE * (head.length + sub.length) + 8;
  const rows = legend.reduce((sum, [, entries]) => sum + entries.length + 1.6, 0) * LINE + (scale ? 184 : 0);
  const h = Math.max(Math.min(460, Math.max(260, 0.7 * w)), rows);
  const box = (k) => (points.length ? [Math.min(...points.map((p) => p[k])), Math.max(...points.map((p) => p[k]))] : [0, 1]);
  const [x0, x1] = box(0), [y0, y1] = box(1), fit = Math.min((w - 56) / (x1 - x0 || 1e-12), (h - 48) / (y1 - y0 || 1e-12));
  const unit = x1 > x0 || y1 > y0 ? fit : 100;  // the same on both axes: a map's distances are what it is for
  const px = (p) => [left + w / 2 + (p[0] - (x0 + x1) / 2) * unit, top + h / 2 - (p[1] - (y0 + y1) / 2) * unit];
  const middle = [(x0 + x1) / 2, (y0 + y1) / 2], radius = points.length > 400 ? 3.5 : points.length > 150 ? 4.5 : 6;
  return { left, top, w, h, side, head, sub, foot, unit, middle, radius, at: points.map(px), width: room, height: top + h + 26 + LINE * foot.length + 4 };
}

function drawFrame(ctx, g, ink) {
  const step = nice(g.w / g.unit), places = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  ctx.font = "11px sans-serif"; ctx.fillStyle = ink; ctx.strokeStyle = ink; ctx.lineWidth = 1;
  ctx.save(); ctx.beginPath(); ctx.rect(g.left, g.top, g.w, g.h); ctx.globalAlpha = 0.35; ctx.stroke(); ctx.globalAlpha = 0.1;
  const ticks = (size, centre) => {
    const half = size / 2 / g.unit, first = Math.ceil((centre - half) / step), last = Math.floor((centre + half) / step);
    return Array.from({ length: last - first + 1 }, (_, k) => (first + k) * step);
  };
  const across = ticks(g.w, g.middle[0]).map((v) => [v, g.left + g.w / 2 + (v - g.middle[0]) * g.unit]);
  const up = ticks(g.h, g.middle[1]).map((v) => [v, g.top + g.h / 2 - (v - g.middle[1]) * g.unit]);
  ctx.beginPath();
  for (const [, x] of across) { ctx.moveTo(x, g.top); ctx.lineTo(x, g.top + g.h); }
  for (const [, y] of up) { ctx.moveTo(g.left, y); ctx.lineTo(g.left + g.w, y); }
  ctx.stroke(); ctx.restore();
  ctx.textAlign = "center"; ctx.textBaseline = "top";
  for (const [v, x] of across) ctx.fillText((v + 0).toFixed(places), x, g.top + g.h + 5);
  ctx.textAlign = "right"; ctx.textBaseline = "middle";
  for (const [v, y] of up) ctx.fillText((v + 0).toFixed(places), g.left - 5, y);
}

function mark(ctx, x, y, r, shape, face, edge, width) {
  ctx.beginPath();
  const corners = CORNERS[shape];
  if (shape === ".") r *= 0.5;
  if (corners) corners.forEach(([a, b], k) => (k ? ctx.lineTo(x + a * r, y + b * r) : ctx.moveTo(x + a * r, y + b * r)));
  else ctx.arc(x, y, r, 0, 2 * Math.PI);
  ctx.closePath();
  if (shape === "ring") { ctx.strokeStyle = face; ctx.lineWidth = 1.3; ctx.stroke(); return; }
  ctx.fillStyle = face; ctx.fill(); ctx.strokeStyle = edge; ctx.lineWidth = width; ctx.lineJoin = "round"; ctx.stroke();
}

// Each stretch has the color of the point it leads to; the last one, and every long one, says which way.
function drawRun(ctx, g, run, color, faint) {
  for (let k = 1; k < run.length; k += 1) {
    const [x0, y0] = g.at[run[k - 1]], [x1, y1] = g.at[run[k]], long = Math.hypot(x1 - x0, y1 - y0);
    ctx.strokeStyle = ctx.fillStyle = color(run[k]); ctx.lineWidth = 1.4; ctx.globalAlpha = faint(run[k]) ? 0.2 : 0.75;
    ctx.beginPath(); ctx.moveTo(x0, y0); ctx.lineTo(x1, y1); ctx.stroke();
    const tip = g.radius + 1;
    if (long < tip + 4 || (long < 34 && k < run.length - 1)) continue;
    ctx.save(); ctx.translate(x1, y1); ctx.rotate(Math.atan2(y1 - y0, x1 - x0));
    ctx.beginPath(); ctx.moveTo(-tip, 0); ctx.lineTo(-tip - 8, -4); ctx.lineTo(-tip - 8, 4); ctx.closePath(); ctx.fill(); ctx.restore();
  }
  ctx.globalAlpha = 1;
}

// Beside their points where there is room, else not at all: pointing at them names them.
function drawNames(ctx, g, names, labels, ink, paper, ringed, taken) {
  ctx.strokeStyle = paper; ctx.lineWidth = 3; ctx.lineJoin = "round"; ctx.font = "11px sans-serif"; ctx.fillStyle = ink; ctx.textAlign = "left"; ctx.textBaseline = "middle";
  for (const i of names) {
    const text = ellipsis(ctx, labels[i] || "", 170), w = ctx.measureText(text).width, r = g.radius + (ringed.has(i) ? 10 : 4), [x, y] = g.at[i];
    const places = [[r, 0], [-r - w, 0], [-w / 2, -r - 6], [-w / 2, r + 6], [r, -10], [r, 10], [-r - w, -10], [-r - w, 10]];
    const free = places.map(([a, b]) => [x + a, y + b - 6, w, 12]).find((box) => box[0] > g.left && box[0] + w < g.left + g.w && box[1] > g.top && box[1] + 12 < g.top + g.h
      && !taken.some((t) => box[0] < t[0] + t[2] && t[0] < box[0] + w && box[1] < t[1] + t[3] && t[1] < box[1] + 12));
    if (!free) continue;
    taken.push(free); ctx.strokeText(text, free[0], free[1] + 6); ctx.fillText(text, free[0], free[1] + 6);
  }
}

function drawLegend(ctx, g, model, ink, seen) {
  const x = g.left + g.w + 14, scale = model.get("scale");
  let y = g.top + 8;
  ctx.textAlign = "left"; ctx.textBaseline = "middle";
  const heading = (text) => { ctx.font = "600 12px sans-serif"; ctx.fillStyle = ink; ctx.fillText(ellipsis(ctx, text, g.side - 10), x, y); y += LINE; };
  if (scale) {
    const [name, low, high, colors] = scale, places = Math.abs(high - low) >= 20 && Number.isInteger(low) && Number.isInteger(high) ? 0 : Math.max(0, Math.ceil(1.3 - Math.log10(Math.abs(high - low) || 1)));
    heading(name);
    for (let s = 0; s < 130; s += 1) { ctx.fillStyle = colors[Math.round((1 - s / 129) * (colors.length - 1))]; ctx.fillRect(x, y + s, 14, 1.5); }
    ctx.font = "11px sans-serif"; ctx.fillStyle = ink;
    for (const share of [0, 0.5, 1]) ctx.fillText((low + share * (high - low)).toFixed(places), x + 20, y + (1 - share) * 129);
    y += 130 + 1.3 * LINE;
  }
  for (const [name, rows] of model.get("legend")) {
    heading(name);
    for (const [label, color, shape] of rows) {
      mark(ctx, x + 6, y, 5, shape, seen(color), g.edge, 0.8);
      ctx.font = "12px sans-serif"; ctx.fillStyle = ink; ctx.fillText(ellipsis(ctx, label, g.side - 34), x + 18, y);
      y += LINE;
    }
    y += 0.6 * LINE;
  }
}

function drawWords(ctx, g, ink) {
  ctx.fillStyle = ink; ctx.textAlign = "left"; ctx.textBaseline = "top";
  let y = 4;
  for (const [font, lines] of [["600 13px sans-serif", g.head], ["12px sans-serif", g.sub]]) for (const line of lines) { ctx.font = font; ctx.fillText(line, 4, y); y += LINE; }
  ctx.font = "12px sans-serif";
  g.foot.forEach((line, k) => ctx.fillText(line, 4, g.top + g.h + 26 + k * LINE));
}

function draw(model, el, canvas, hand) {
  const ctx = canvas.getContext("2d"), ratio = window.devicePixelRatio || 1, { ink, paper, dark } = theme(el);
  const g = layout(model, ctx, Math.max(320, Math.min(el.parentElement?.clientWidth || 760, 900)));
  canvas.width = Math.round(g.width * ratio); canvas.height = Math.round(g.height * ratio);
  canvas.style.width = g.width + "px"; canvas.style.height = g.height + "px";
  ctx.scale(ratio, ratio);
  const colors = model.get("colors"), shapes = model.get("shapes"), shown = model.get("shown"), chosen = model.get("chosen"), selected = new Set(model.get("selected"));
  const seen = (hex) => (dark && /^#0{6}$/.test(hex) ? ink : hex), color = (i) => seen(colors[i] || "#0072b2"), faint = (i) => selected.size > 0 && !selected.has(i);
  g.picture = model.get("picture"); g.edge = "#ffffff"; g.shown = g.at.map((_, i) => shown[i] !== false);
  drawFrame(ctx, g, ink);
  const runs = model.get("runs").map((run) => run.filter((i) => g.shown[i])).filter((run) => run.length), place = new Map();
  for (const run of runs) run.forEach((i, k) => place.set(i, k === 0 ? "first" : k === run.length - 1 ? "last" : "between"));
  for (const run of runs) drawRun(ctx, g, run, color, faint);
  g.at.forEach(([x, y], i) => {
    if (!g.shown[i]) return;
    const open = place.get(i) === "first", r = place.get(i) === "between" ? 0.7 * g.radius : g.radius;
    ctx.globalAlpha = faint(i) ? 0.25 : 1;
    mark(ctx, x, y, r, shapes[i], open ? paper : color(i), open ? color(i) : g.edge, open ? 1.8 : 0.8);
  });
  ctx.globalAlpha = 1;
  for (const i of model.get("ringed")) if (g.shown[i]) mark(ctx, ...g.at[i], g.radius + 3, "ring", ink);
  const ring = (i, style) => { ctx.beginPath(); ctx.setLineDash(style); ctx.arc(...g.at[i], g.radius + 5, 0, 2 * Math.PI); ctx.stroke(); ctx.setLineDash([]); };
  ctx.strokeStyle = RING; ctx.lineWidth = 2.5;
  const rings = chosen.filter((i) => g.shown[i]);
  rings.forEach((i) => ring(i, []));
  if (hand.cursor !== null && g.shown[hand.cursor]) { ctx.strokeStyle = ink; ctx.lineWidth = 1.2; ring(hand.cursor, [3, 3]); }
  const visible = g.at.map((_, i) => i).filter((i) => g.shown[i]), ends = runs.map((run) => run[run.length - 1]);
  const named = runs.length ? (ends.length <= 12 ? ends : []) : visible.length <= 12 ? visible : [];
  const taken = visible.map((i) => [g.at[i][0] - 5, g.at[i][1] - 5, 10, 10]);
  drawNames(ctx, g, new Set([...rings, ...named]), model.get("labels"), ink, paper, new Set(rings), taken);
  if (hand.lasso.length > 1) {
    ctx.beginPath(); hand.lasso.forEach(([x, y], k) => (k ? ctx.lineTo(x, y) : ctx.moveTo(x, y))); ctx.closePath();
    ctx.fillStyle = RING; ctx.globalAlpha = 0.12; ctx.fill(); ctx.globalAlpha = 1; ctx.strokeStyle = RING; ctx.lineWidth = 1.2; ctx.setLineDash([5, 3]); ctx.stroke(); ctx.setLineDash([]);
  }
  drawLegend(ctx, g, model, ink, seen);
  drawWords(ctx, g, ink);
  canvas.setAttribute("aria-label", `${model.get("title")}: ${visible.length} points. Arrow keys move to the nearest point that way, Enter chooses it, Escape takes the choice back.`);
  return g;
}

function inside([x, y], polygon) {
  let within = false;
  polygon.forEach(([x1, y1], k) => {
    const [x0, y0] = polygon[(k || polygon.length) - 1];
    if (y0 > y !== y1 > y && x < ((x1 - x0) * (y - y0)) / (y1 - y0) + x0) within = !within;
  });
  return within;
}

function render({ model, el }) {
  el.classList.add("rs-scatter");
  const canvas = document.createElement("canvas"), tip = document.createElement("div");
  canvas.tabIndex = 0; canvas.setAttribute("role", "img"); tip.className = "rs-tip"; tip.setAttribute("role", "status");
  el.append(canvas, tip);
  let g = null, pressed = null;
  const hand = { cursor: null, lasso: [] };  // what is under way and nobody else's business
  const paint = () => view.paint(), redraw = () => { show([]); paint(); };
  const moved = () => { hand.cursor = null; hand.lasso = []; pressed = null; redraw(); };  // another map
  const where = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  const gap = (i, [x, y]) => Math.hypot(g.at[i][0] - x, g.at[i][1] - y);
  const stack = (i) => g.at.map((_, k) => k).filter((k) => g.shown[k] && gap(k, g.at[i]) <= SAME).sort((a, b) => gap(a, g.at[i]) - gap(b, g.at[i]));
  const near = (spot) => {
    let best = -1;
    g.at.forEach((_, i) => { if (g.shown[i] && gap(i, spot) <= NEAR && (best < 0 || gap(i, spot) < gap(best, spot))) best = i; });
    return best < 0 ? [] : stack(best);
  };
  const show = (found) => {
    if (!found.length) { tip.style.display = "none"; return; }
    const labels = model.get("labels"), notes = model.get("notes");
    tip.replaceChildren();
    for (const i of found.slice(0, 6)) {
      const name = document.createElement("b"), more = document.createElement("div");
      name.textContent = labels[i]; more.textContent = found.length > 3 ? "" : notes[i] || "";
      tip.append(name, more);
    }
    if (found.length > 6) tip.append(`and ${found.length - 6} more here`);
    tip.style.display = "block";
    const [x, y] = g.at[found[0]], beside = x + g.radius + 10, room = canvas.clientWidth - tip.offsetWidth - 4;
    tip.style.left = Math.max(0, beside <= room ? beside : x - g.radius - 10 - tip.offsetWidth) + "px";
    tip.style.top = Math.max(0, Math.min(y - tip.offsetHeight / 2, canvas.clientHeight - tip.offsetHeight)) + "px";
  };
  const choose = (found) => {
    if (!found.length) return;
    const before = model.get("chosen"), last = found.indexOf(before[before.length - 1]);  // where points coincide, each click takes the next
    const next = found[last < 0 ? 0 : (last + 1) % found.length];
    model.set("chosen", before.length === 1 ? [before[0], next] : [next]);
    model.set("seen", g.picture); model.set("presses", model.get("presses") + 1); model.save_changes();
  };
  const clear = (names) => { for (const name of names) if (model.get(name).length) model.set(name, []); model.save_changes(); };
  const toward = ([dx, dy]) => {
    const from = hand.cursor, cost = (i) => {
      const x = g.at[i][0] - g.at[from][0], y = g.at[i][1] - g.at[from][1], along = x * dx + y * dy;
      return g.shown[i] && along > SAME ? along + 2 * Math.abs(x * dy - y * dx) : Infinity;
    };
    const best = g.at.reduce((found, _, i) => (cost(i) < cost(found) ? i : found), from);
    return cost(best) < Infinity ? best : from;
  };
  const down = (event) => { if (g && event.button === 0) { pressed = where(event); canvas.setPointerCapture?.(event.pointerId); } };
  const move = (event) => {
    if (!g) return;
    const spot = where(event);
    if (!pressed) return show(near(spot));
    if (!hand.lasso.length && Math.hypot(spot[0] - pressed[0], spot[1] - pressed[1]) > 5) hand.lasso = [pressed];
    if (hand.lasso.length) { hand.lasso.push(spot); show([]); paint(); }
  };
  const up = (event) => {
    if (!g || !pressed) return;
    const lasso = hand.lasso, spot = where(event);
    pressed = null; hand.lasso = []; hand.cursor = null;
    if (lasso.length) {
      model.set("selected", g.at.map((_, i) => i).filter((i) => g.shown[i] && inside(g.at[i], lasso))); model.set("seen", g.picture); model.save_changes();
      return paint();
    }
    const found = near(spot);
    if (found.length) choose(found); else clear(["selected"]);
  };
  const key = (event) => {
    if (!g || !g.shown.some(Boolean)) return;
    const step = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[event.key];
    const started = hand.cursor !== null && g.shown[hand.cursor];
    if (step) hand.cursor = started ? toward(step) : g.shown.indexOf(true);
    else if (event.key === "Enter" || event.key === " ") { if (started) choose(stack(hand.cursor)); }
    else if (event.key === "Escape") { hand.cursor = null; clear(["chosen", "selected"]); }
    else return;
    paint();
    if (step) show(stack(hand.cursor));
    event.preventDefault(); event.stopPropagation();
  };
  const leave = () => show([]), cancel = () => { pressed = null; hand.lasso = []; paint(); }, blur = () => { hand.cursor = null; redraw(); };
  for (const [name, call] of [["pointerdown", down], ["pointermove", move], ["pointerup", up], ["pointercancel", cancel], ["pointerleave", leave], ["blur", blur], ["keydown", key]]) canvas.addEventListener(name, call);
  const names = TRAITS.filter((name) => name !== "points").map((name) => "change:" + name).join(" ");
  const view = painter(el, canvas, () => { g = draw(model, el, canvas, hand); }, redraw);
  model.on(names, redraw); model.on("change:points", moved);
  redraw();
  return () => { model.off(names, redraw); model.off("change:points", moved); view.end(); };
}

export { show };
export default { render };
