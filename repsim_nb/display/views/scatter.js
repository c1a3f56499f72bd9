
// -- points: few are drawn one by one, many are copied from stamps into an image

const TRAITS = ["points", "labels", "notes", "colors", "shapes", "shown", "runs", "legend", "scale", "title", "subtitle", "footer", "chosen", "selected", "ringed", "hovered", "links"];
const DEFAULTS = { labels: [], notes: [], colors: [], shapes: [], shown: [], runs: [], legend: [], scale: null, title: "", subtitle: "", footer: "", ringed: [], hovered: [], links: [] };
const NEAR = 12, SAME = 3, LINE = 17, RING = "#d55e00", NEUTRAL = "#666666", MANY = 1500, NAMED = 300, MOST_ZOOM = 400, HIDDEN = 65535;

// The points as numbers, read once for each map.
function cloudOf(points) {
  const X = Float64Array.from(points, (p) => p[0]), Y = Float64Array.from(points, (p) => p[1]), ends = (v) => { let low = Infinity, high = -Infinity; for (const one of v) { if (one < low) low = one; if (one > high) high = one; } return low <= high ? [low, high] : [0, 1]; };
  return { points, X, Y, across: ends(X), up: ends(Y), n: points.length };
}

const markSize = (n, k) => Math.round(4 * Math.min(6, clamp(6 * (150 / Math.max(150, n)) ** 0.3, 1.3, 6) * Math.min(3, k ** 0.35))) / 4;  // few sizes: stamps are kept

function headings(model) {
  return model.get("legend").map(([heading, rows], at) => ({ heading, rows: rows.map(([label, color, shape]) => ({ key: `${at}/${label}`, label, color, shape })) }));
}

// The legend below the map: rows of entries, as they find room.
function flow(ctx, groups, scale, room) {
  const lines = [];
  if (scale) lines.push({ scale: true });
  for (const { heading, rows } of groups) {
    let line = { heading, entries: [], used: ctx.measureText(heading).width + 22 };
    for (const row of rows) {
      const width = Math.min(room - 30, ctx.measureText(row.label).width + 34);
      if (line.used + width > room && line.entries.length) { lines.push(line); line = { heading: "", entries: [], used: 12 }; }
      line.entries.push({ ...row, x: line.used, width }); line.used += width;
    }
    lines.push(line);
  }
  return lines;
}

function layout(model, hand, ctx, room) {
  const groups = headings(model), scale = model.get("scale"), narrow = room < 560, height = Math.round(clamp(0.7 * room + 90, 400, 600));
  ctx.font = "12px sans-serif";
  const words = [...groups.flatMap(({ heading, rows }) => [heading, ...rows.map(({ label }) => label)]), ...(scale ? [scale[0]] : [])];
  const side = narrow || !words.length ? 12 : Math.min(210, Math.max(60, ...words.map((w) => ctx.measureText(w).width)) + 34);
  const left = 46, w = Math.max(160, room - left - side - 4), under = narrow ? flow(ctx, groups, scale, room - 8) : [];
  const foot = wrap(ctx, model.get("footer"), room - 12), sub = wrap(ctx, model.get("subtitle"), room - 12);
  ctx.font = "600 13px sans-serif";
  const head = wrap(ctx, model.get("title"), room - 12), top = 4 + LINE * (head.length + sub.length) + 8;
  const listed = narrow ? 0 : groups.reduce((sum, { rows }) => sum + rows.length + 1.6, 0) * LINE + (scale ? 184 : 0);
  const h = Math.max(height - top - 30 - LINE * foot.length, 220, listed);
  const { across: [x0, x1], up: [y0, y1] } = hand.cloud, fit = Math.min((w - 56) / (x1 - x0 || 1e-12), (h - 48) / (y1 - y0 || 1e-12));
  const unit = x1 > x0 || y1 > y0 ? fit : 100;  // the same on both axes: a map's distances are what it is for
  return { left, top, w, h, side, narrow, groups, under, head, sub, foot, unit, middle: [(x0 + x1) / 2, (y0 + y1) / 2], n: hand.cloud.n, width: room, height: top + h + 26 + LINE * (foot.length + under.length + (under.length && scale ? 1 : 0)) + 6 };
}

// Where a point is on the canvas: x = ax + bx * X, y = ay + by * Y.
function windowed(g, view) {
  const { k, x, y } = within(view, g);
  g.k = k; g.scaled = g.unit * k; g.radius = markSize(g.n, k);
  g.ax = g.left + (g.w / 2 - g.middle[0] * g.unit) * k - x; g.bx = g.scaled;
  g.ay = g.top + (g.h / 2 + g.middle[1] * g.unit) * k - y; g.by = -g.scaled;
  return g;
}

function drawFrame(ctx, g, ink) {
  const step = nice(g.w / g.scaled), places = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  ctx.font = "11px sans-serif"; ctx.fillStyle = ink; ctx.strokeStyle = ink; ctx.lineWidth = 1;
  ctx.save(); ctx.beginPath(); ctx.rect(g.left, g.top, g.w, g.h); ctx.globalAlpha = 0.35; ctx.stroke(); ctx.globalAlpha = 0.1;
  const ticks = (from, to) => { const first = Math.ceil(from / step), last = Math.floor(to / step); return Array.from({ length: Math.max(0, last - first + 1) }, (_, k) => (first + k) * step); };
  const across = ticks((g.left - g.ax) / g.bx, (g.left + g.w - g.ax) / g.bx).map((v) => [v, g.ax + v * g.bx]);
  const up = ticks((g.top + g.h - g.ay) / g.by, (g.top - g.ay) / g.by).map((v) => [v, g.ay + v * g.by]);
  ctx.beginPath();
  for (const [, x] of across) { ctx.moveTo(x, g.top); ctx.lineTo(x, g.top + g.h); }
  for (const [, y] of up) { ctx.moveTo(g.left, y); ctx.lineTo(g.left + g.w, y); }
  ctx.stroke(); ctx.restore();
  ctx.textAlign = "center"; ctx.textBaseline = "top";
  for (const [v, x] of across) ctx.fillText((v + 0).toFixed(places), x, g.top + g.h + 5);
  ctx.textAlign = "right"; ctx.textBaseline = "middle";
  for (const [v, y] of up) ctx.fillText((v + 0).toFixed(places), g.left - 5, y);
}

// A mark as pixels: their places next to its middle, and their colors.
function stamp(shape, radius, face, alpha, ratio, stride) {
  const reach = Math.ceil((1.4 * radius + 1) * ratio), size = 2 * reach + 1, canvas = element("canvas");
  canvas.width = canvas.height = size;
  const ctx = canvas.getContext("2d", { willReadFrequently: true });
  ctx.globalAlpha = alpha; ctx.translate(reach + 0.5, reach + 0.5); ctx.scale(ratio, ratio);
  mark(ctx, 0, 0, radius, shape, face, "#ffffff", radius > 2.5 ? 0.8 : 0);
  const { data } = ctx.getImageData(0, 0, size, size), places = [], words = [];
  for (let k = 0; k < size * size; k += 1) {
    if (data[4 * k + 3] < 8) continue;
    places.push((Math.floor(k / size) - reach) * stride + (k % size) - reach);
    words.push(((data[4 * k + 3] << 24) | (data[4 * k + 2] << 16) | (data[4 * k + 1] << 8) | data[4 * k]) >>> 0);
  }
  return { places: Int32Array.from(places), words: Uint32Array.from(words), reach };
}

// Copy the stamps of all points in the window into an image, which is kept for the next frame.
function drawMany(ctx, g, hand, style, ratio) {
  const pad = Math.ceil(10 * ratio), W = Math.ceil(g.w * ratio) + 2 * pad, H = Math.ceil(g.h * ratio) + 2 * pad, { X, Y, n } = hand.cloud;
  let sheet = hand.sheet;
  if (!sheet || sheet.W !== W || sheet.H !== H) {
    const canvas = element("canvas");
    canvas.width = W; canvas.height = H;
    const its = canvas.getContext("2d"), image = its.createImageData(W, H);
    sheet = hand.sheet = { W, H, canvas, its, image, pixels: new Uint32Array(image.data.buffer) };
  }
  const { pixels } = sheet, size = `${g.radius} ${ratio} ${W}`;
  if (style.size !== size) Object.assign(style, { size, stamps: style.list.map(([shape, face, alpha]) => stamp(shape, g.radius, face, alpha, ratio, W)) });
  const { stamps } = style;
  pixels.fill(0);
  const ox = (g.ax - g.left) * ratio + pad, oy = (g.ay - g.top) * ratio + pad, sx = g.bx * ratio, sy = g.by * ratio, right = W - pad, bottom = H - pad;
  for (let i = 0; i < n; i += 1) {
    const kind = style.of[i];
    if (kind === HIDDEN) continue;
    const x = Math.round(ox + X[i] * sx - 0.5), y = Math.round(oy + Y[i] * sy - 0.5);
    if (x < pad - 8 || y < pad - 8 || x > right + 8 || y > bottom + 8) continue;
    const { places, words } = stamps[kind], from = y * W + x;
    for (let k = 0; k < places.length; k += 1) {
      const at = from + places[k], over = words[k], alpha = over >>> 24, under = pixels[at];
      if (alpha === 255 || under === 0) { pixels[at] = over; continue; }
      const low = under >>> 24, share = alpha + (low * (255 - alpha)) / 255, a = alpha / share, b = 1 - a;
      pixels[at] = (((share << 24) | ((((over >>> 16) & 255) * a + ((under >>> 16) & 255) * b) << 16) | ((((over >>> 8) & 255) * a + ((under >>> 8) & 255) * b) << 8) | ((over & 255) * a + (under & 255) * b)) >>> 0);
    }
  }
  sheet.its.putImageData(sheet.image, 0, 0);
  ctx.drawImage(sheet.canvas, pad, pad, W - 2 * pad, H - 2 * pad, g.left, g.top, (W - 2 * pad) / ratio, (H - 2 * pad) / ratio);
}

// Each stretch has the color of the point it leads to; the last one, and every long one, says which way.
function drawRun(ctx, g, run, color, faint) {
  for (let k = 1; k < run.length; k += 1) {
    const [x0, y0] = g.at(run[k - 1]), [x1, y1] = g.at(run[k]), long = Math.hypot(x1 - x0, y1 - y0);
    ctx.strokeStyle = ctx.fillStyle = color(run[k]); ctx.lineWidth = 1.4; ctx.globalAlpha = faint(run[k]) ? 0.2 : 0.75;
    ctx.beginPath(); ctx.moveTo(x0, y0); ctx.lineTo(x1, y1); ctx.stroke();
    const tip = g.radius + 1;
    if (long < tip + 4 || (long < 34 && k < run.length - 1)) continue;
    ctx.save(); ctx.translate(x1, y1); ctx.rotate(Math.atan2(y1 - y0, x1 - x0));
    ctx.beginPath(); ctx.moveTo(-tip, 0); ctx.lineTo(-tip - 8, -4); ctx.lineTo(-tip - 8, 4); ctx.closePath(); ctx.fill(); ctx.restore();
  }
  ctx.globalAlpha = 1;
}

// Next to their points where there is room, else not at all: pointing at them names them.
function drawNames(ctx, g, names, labels, theme, ringed, taken) {
  const cells = new Map(), spots = ([x, y, w, h]) => { const found = []; for (let a = Math.floor(x / 60); a <= Math.floor((x + w) / 60); a += 1) for (let b = Math.floor(y / 24); b <= Math.floor((y + h) / 24); b += 1) found.push(a * 4096 + b); return found; };
  const take = (box) => { for (const spot of spots(box)) { if (!cells.has(spot)) cells.set(spot, []); cells.get(spot).push(box); } };
  const busy = (box) => spots(box).some((spot) => cells.get(spot)?.some((t) => box[0] < t[0] + t[2] && t[0] < box[0] + box[2] && box[1] < t[1] + t[3] && t[1] < box[1] + box[3]));
  taken.forEach(take);
  ctx.strokeStyle = theme.paper; ctx.lineWidth = 3; ctx.lineJoin = "round"; ctx.font = "11px sans-serif"; ctx.fillStyle = theme.ink; ctx.textAlign = "left"; ctx.textBaseline = "middle";
  for (const i of names) {
    const text = ellipsis(ctx, labels[i] || "", 170), w = ctx.measureText(text).width, r = g.radius + (ringed.has(i) ? 10 : 4), [x, y] = g.at(i);
    const places = [[r, 0], [-r - w, 0], [-w / 2, -r - 6], [-w / 2, r + 6], [r, -10], [r, 10], [-r - w, -10], [-r - w, 10]];
    const free = places.map(([a, b]) => [x + a, y + b - 6, w, 12]).find((box) => box[0] > g.left && box[0] + w < g.left + g.w && box[1] > g.top && box[1] + 12 < g.top + g.h && !busy(box));
    if (!free) continue;
    take(free); ctx.strokeText(text, free[0], free[1] + 6); ctx.fillText(text, free[0], free[1] + 6);
  }
}
