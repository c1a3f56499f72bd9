
// -- lines, points, ranges and bars over two axes

const TRAITS = ["layers", "title", "x_title", "y_title", "legend_title", "legend_below", "x_ticks", "y_ticks", "slanted", "x_limits", "y_limits", "x_scale", "bend", "grid", "framed"];
const DEFAULTS = { layers: [], title: "", x_title: "", y_title: "", legend_title: "", legend_below: false, x_ticks: [], y_ticks: [], slanted: false, x_limits: [null, null], y_limits: [null, null], x_scale: "linear", bend: 1, grid: "both", framed: true, hovered: [] };
const LINE = 17, NEAR = 14, POINT = 1.2, SAMPLE = 24;  // pixels; of one point of a printed picture; of the line in the legend
const DASHES = { "-": [], "--": [4, 2], ":": [1, 2], "-.": [6, 2, 1, 2] };

const known = (v) => typeof v === "number";
const placed = (layer) => layer.x.length > 0 || layer.y.length > 0;

// Where a number lies on an axis, before it is scaled.
function bent(v, scale, bend) {
  if (scale === "log") return v > 0 ? Math.log10(v) : NaN;
  if (scale === "symlog") return Math.abs(v) <= bend ? v / bend : Math.sign(v) * (1 + Math.log10(Math.abs(v) / bend));
  return v;
}

// The numbers of a layer along an axis that its marks reach.
function reach({ mark, x, y, low, high, width }, axis) {
  if (mark === "texts" || mark === "flag" || mark === "heading") return [];
  if (axis === "x") return mark === "bars" ? x.flatMap((v) => [v - width / 2, v + width / 2]) : mark === "ranges" ? [...low, ...high] : x;
  return mark === "bars" ? [...y, 0] : mark === "area" ? [...low, ...high] : y;
}

// The ends of an axis, as it is bent; the given ends are exact, others have some room.
function ends(layers, axis, limits, bend) {
  const found = layers.flatMap((layer) => reach(layer, axis).filter(known)).map(bend).filter(Number.isFinite);
  let low = Infinity, high = -Infinity;
  for (const v of found) { low = Math.min(low, v); high = Math.max(high, v); }
  if (low > high) [low, high] = [0, 1];
  const room = 0.05 * (high - low) || 0.5, floor = axis === "y" && layers.some(({ mark }) => mark === "bars") && low === 0;
  const given = limits.map((v) => (known(v) ? bend(v) : null));
  return [given[0] ?? (floor ? 0 : low - room), given[1] ?? high + room];
}

const plain = (v) => (v === 0 ? "0" : Math.abs(v) >= 1e5 || Math.abs(v) < 1e-4 ? v.toExponential(2).replace(/\.?0+e/, "e") : String(Number(v.toPrecision(4))));

// [where, text] of the ticks between two ends.
function ticksOf(given, [low, high], scale, bend) {
  const inside = ([at]) => at >= Math.min(low, high) - 1e-9 && at <= Math.max(low, high) + 1e-9;
  if (given.length) return given.map(([v, text]) => [bent(v, scale, bend), text]).filter(inside);
  if (scale === "linear" || (scale === "log" && Math.abs(high - low) < 1)) {
    const from = scale === "log" ? 10 ** Math.min(low, high) : Math.min(low, high), to = scale === "log" ? 10 ** Math.max(low, high) : Math.max(low, high), step = nice(to - from || 1), places = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    return Array.from({ length: 12 }, (_, k) => (Math.ceil(from / step) + k) * step).map((v) => [bent(v, scale, bend), Math.abs(v) >= 1e5 ? plain(v) : (v + 0).toFixed(Math.min(8, places))]).filter(inside);
  }
  const powers = Array.from({ length: 41 }, (_, k) => 10 ** (k - 20)).filter((v) => scale === "log" || v >= bend * 0.999);
  const all = scale === "log" ? powers : [...powers.map((v) => -v), 0, ...powers];
  return all.map((v) => [bent(v, scale, bend), plain(v)]).filter(inside);
}

function layout(model, ctx, room) {
  const layers = model.get("layers"), [first, ...rest] = model.get("title").split("\n"), scale = model.get("x_scale"), bend = model.get("bend");
  ctx.font = "600 13px sans-serif";
  const head = wrap(ctx, first, room - 12);
  ctx.font = "12px sans-serif";
  const sub = rest.flatMap((line) => wrap(ctx, line, room - 12)), groups = [{ heading: model.get("legend_title"), rows: [] }];
  layers.forEach((layer, k) => {
    if (layer.mark === "heading") groups.push({ heading: layer.label, rows: [] });
    else if (layer.label) groups[groups.length - 1].rows.push({ key: String(k), label: layer.label });
  });
  const listed = groups.filter(({ rows }) => rows.length), width = (text) => ctx.measureText(text).width;
  const below = listed.length > 0 && (room < 560 || model.get("legend_below")), side = below || !listed.length ? 12 : clamp(Math.max(...listed.flatMap(({ heading, rows }) => [width(heading), ...rows.map(({ label }) => width(label) + SAMPLE + 12)])) + 20, 60, 0.4 * room);
  const across = ends(layers, "x", model.get("x_limits"), (v) => bent(v, scale, bend)), up = ends(layers, "y", model.get("y_limits"), (v) => v);
  const xTicks = ticksOf(model.get("x_ticks"), across, scale, bend), yTicks = ticksOf(model.get("y_ticks"), up, "linear", 1);
  ctx.font = "11px sans-serif";
  const most = 0.3 * room, wide = (ticks) => ticks.reduce((found, [, text]) => Math.max(found, Math.min(most, width(text))), 0);
  const left = 10 + wide(yTicks) + (model.get("y_title") ? 20 : 0), w = Math.max(120, room - left - side - 8), slot = w / Math.max(1, xTicks.length);
  const slanted = model.get("slanted") || (model.get("x_ticks").length > 0 && wide(xTicks) > slot), foot = (slanted ? wide(xTicks) * 0.72 + 16 : 20) + (model.get("x_title") ? 20 : 0);
  const top = 6 + LINE * (head.length + sub.length) + 8, h = clamp(0.5 * room + 60, 220, 360), under = [];
  ctx.font = "12px sans-serif";
  if (below) for (const { heading, rows } of listed) {
    let line = { heading, entries: [], used: heading ? 1.1 * width(heading) + 16 : 4 };
    for (const row of rows) {
      const its = Math.min(room - 20, width(row.label) + SAMPLE + 24);
      if (line.used + its > room - 8 && line.entries.length) { under.push(line); line = { heading: "", entries: [], used: 4 }; }
      line.entries.push({ ...row, x: line.used, width: its }); line.used += its;
    }
    under.push(line);
  }
  const height = Math.max(top + h + foot + 6 + LINE * under.length, below ? 0 : top + LINE * listed.reduce((sum, { rows }) => sum + rows.length + 1.5, 0));
  const px = (v) => left + ((bent(v, scale, bend) - across[0]) / (across[1] - across[0] || 1)) * w, py = (v) => top + h - ((v - up[0]) / (up[1] - up[0] || 1)) * h;
  const at = { x: (b) => left + ((b - across[0]) / (across[1] - across[0] || 1)) * w, y: (b) => py(b) };
  return { layers, head, sub, listed, below, under, side, left, w, top, h, foot, slanted, most, xTicks, yTicks, px, py, at, width: room, height };
}

// Grays of a printed picture as they are on a dark page.
function shadeOf(color, theme) {
  const gray = color.match(/^#(\w\w)\1\1$/i), value = gray ? parseInt(gray[1], 16) : null;
  return theme.dark && value !== null && value < 150 ? "#" + (255 - value).toString(16).padStart(2, "0").repeat(3) : color;
}

// The layers that an entry of the legend stands for: its own, or those without an entry that have its color.
function membersOf(layers, key) {
  const own = layers[Number(key)], found = new Set([Number(key)]);
  layers.forEach((layer, k) => { if (!layer.label && layer.colors.length === 1 && layer.colors[0] === own.colors[0] && (!placed(own) || layer.mark === own.mark || layer.mark === "area" || layer.mark === "ranges")) found.add(k); });
  return found;
}

const dashOf = ({ dash, width }) => (dash in DASHES ? DASHES[dash] : dash.split(" ").map(Number)).map((v) => v * Math.max(1, width) * POINT * 0.9);

function drawLayer(ctx, g, layer, theme) {
  const { mark: kind, x, y, low, high, colors } = layer, color = (k) => shadeOf(colors[Math.min(k, colors.length - 1)] || "#0072b2", theme), lift = layer.raised * POINT;
  ctx.globalAlpha = layer.opacity; ctx.strokeStyle = ctx.fillStyle = color(0); ctx.lineWidth = layer.width * POINT; ctx.lineJoin = "round";
  const path = () => {
    ctx.beginPath();
    let on = false;
    x.forEach((v, k) => {
      const [a, b] = known(v) && known(y[k]) ? [g.px(v), g.py(y[k]) - lift] : [NaN, NaN];
      if (!Number.isFinite(a + b)) { on = false; return; }
      if (on) ctx.lineTo(a, b); else ctx.moveTo(a, b);
      on = true;
    });
    ctx.stroke();
  };
  const spots = (call) => x.forEach((v, k) => { if (known(v) && known(y[k])) { const a = g.px(v), b = g.py(y[k]) - lift; if (Number.isFinite(a + b)) call(a, b, k); } });
  const marks = () => spots((a, b, k) => {
    const rim = layer.rim === null ? 0 : layer.rim * POINT;
    mark(ctx, a, b, (layer.size * POINT) / 2, layer.marker, layer.open ? theme.paper : color(k), layer.open ? color(k) : theme.paper, layer.open ? 1.4 : rim);
  });
  if (kind === "line") {
    if (layer.dash) {
      if (layer.halo) { ctx.strokeStyle = theme.paper; ctx.lineWidth = layer.width * POINT + 4; path(); ctx.strokeStyle = color(0); ctx.lineWidth = layer.width * POINT; }
      ctx.setLineDash(dashOf(layer)); path(); ctx.setLineDash([]);
    }
    if (layer.marker) marks();
  } else if (kind === "points") marks();
  else if (kind === "ranges") y.forEach((v, k) => { if (!known(v) || !known(low[k]) || !known(high[k])) return; ctx.strokeStyle = color(k); ctx.beginPath(); ctx.moveTo(g.px(low[k]), g.py(v)); ctx.lineTo(g.px(high[k]), g.py(v)); ctx.stroke(); });
  else if (kind === "area") {
    const inside = x.map((v, k) => [v, low[k], high[k]]).filter((one) => one.every(known));
    if (inside.length) { ctx.beginPath(); [...inside.map(([v, , b]) => [v, b]), ...inside.map(([v, a]) => [v, a]).reverse()].forEach(([v, b], k) => (k ? ctx.lineTo(g.px(v), g.py(b)) : ctx.moveTo(g.px(v), g.py(b)))); ctx.closePath(); ctx.fill(); }
  } else if (kind === "bars") x.forEach((v, k) => { if (!known(v) || !known(y[k])) return; const a = g.px(v - layer.width / 2), b = g.px(v + layer.width / 2), gap = layer.rim && Math.abs(b - a) > 4 ? 0.5 : 0; ctx.fillRect(Math.min(a, b) + gap, Math.min(g.py(0), g.py(y[k])), Math.abs(b - a) - 2 * gap, Math.abs(g.py(0) - g.py(y[k]))); });
  else if (kind === "texts") { ctx.font = `${layer.bold ? "600 " : ""}${layer.size * POINT}px sans-serif`; ctx.textAlign = "center"; ctx.textBaseline = "middle"; spots((a, b, k) => ctx.fillText(layer.texts[k] || "", a, b)); }
  else if (kind === "flag") { ctx.font = "11px sans-serif"; ctx.textBaseline = "top"; x.forEach((v, k) => { if (!known(v)) return; const a = g.px(v), left = a > g.left + g.w / 2; ctx.textAlign = left ? "right" : "left"; ctx.fillText(layer.texts[k] || "", a + (left ? -6 : 6), g.top + 6); }); }
  else if (kind === "vertical" || kind === "horizontal") { ctx.setLineDash(dashOf(layer)); ctx.beginPath(); for (const v of kind === "vertical" ? x : y) { if (!known(v)) continue; if (kind === "vertical") { ctx.moveTo(g.px(v), g.top); ctx.lineTo(g.px(v), g.top + g.h); } else { ctx.moveTo(g.left, g.py(v)); ctx.lineTo(g.left + g.w, g.py(v)); } } ctx.stroke(); ctx.setLineDash([]); }
  ctx.globalAlpha = 1;
}

function drawAxes(ctx, g, model, ink) {
  const grid = model.get("grid");
  ctx.strokeStyle = ctx.fillStyle = ink; ctx.lineWidth = 1; ctx.globalAlpha = 0.1; ctx.beginPath();
  if (grid === "both" || grid === "x") for (const [b] of g.xTicks) { ctx.moveTo(g.at.x(b), g.top); ctx.lineTo(g.at.x(b), g.top + g.h); }
  if (grid === "both" || grid === "y") for (const [b] of g.yTicks) { ctx.moveTo(g.left, g.at.y(b)); ctx.lineTo(g.left + g.w, g.at.y(b)); }
  ctx.stroke(); ctx.globalAlpha = 0.35; ctx.beginPath();
  if (model.get("framed")) ctx.rect(g.left, g.top, g.w, g.h); else { ctx.moveTo(g.left, g.top); ctx.lineTo(g.left, g.top + g.h); ctx.lineTo(g.left + g.w, g.top + g.h); }
  ctx.stroke(); ctx.globalAlpha = 1; ctx.font = "11px sans-serif"; ctx.textBaseline = "middle"; ctx.textAlign = "right";
  let above = Infinity;
  for (const [b, text] of [...g.yTicks].sort((one, other) => g.at.y(other[0]) - g.at.y(one[0]))) { const y = g.at.y(b); if (above - y < 11) continue; above = y; ctx.fillText(ellipsis(ctx, text, g.most), g.left - 5, y); }
  let free = -Infinity;
  for (const [b, text] of [...g.xTicks].sort((one, other) => g.at.x(one[0]) - g.at.x(other[0]))) {
    const x = g.at.x(b), short = ellipsis(ctx, text, g.most), half = g.slanted ? 5 : ctx.measureText(short).width / 2;
    if (x - half < free) continue;
    free = x + half + (g.slanted ? 3 : 6);
    ctx.save(); ctx.translate(x, g.top + g.h + 6);
    if (g.slanted) { ctx.rotate(-Math.PI / 4); ctx.textAlign = "right"; ctx.fillText(short, 0, 4); } else { ctx.textAlign = "center"; ctx.textBaseline = "top"; ctx.fillText(short, 0, 0); }
    ctx.restore();
  }
  ctx.font = "12px sans-serif"; ctx.textAlign = "center"; ctx.textBaseline = "alphabetic";
  const middle = clamp(g.left + g.w / 2, 60, g.width - 60);
  ctx.fillText(ellipsis(ctx, model.get("x_title").replace(/\n/g, " "), 2 * Math.min(middle, g.width - middle) - 8), middle, g.top + g.h + g.foot - 4);
  ctx.save(); ctx.translate(4, g.top + g.h / 2); ctx.rotate(-Math.PI / 2); ctx.textBaseline = "top"; ctx.fillText(ellipsis(ctx, model.get("y_title").replace(/\n/g, " "), g.h + 60), 0, 0); ctx.restore();
}

// -> the box of every entry, for the buttons that lie over them
function drawLegend(ctx, g, theme, hidden) {
  const boxes = [], heading = (text, x, y) => { ctx.font = "600 12px sans-serif"; ctx.fillStyle = theme.ink; ctx.textAlign = "left"; ctx.textBaseline = "middle"; ctx.fillText(ellipsis(ctx, text, g.width - x - 4), x, y); };
  const entry = ({ key, label }, x, y, width) => {
    const layer = g.layers[Number(key)], color = shadeOf(layer.colors[0] || "#0072b2", theme), middle = x + SAMPLE / 2;
    ctx.globalAlpha = hidden.has(key) ? 0.35 : 1; ctx.strokeStyle = ctx.fillStyle = color; ctx.lineWidth = Math.min(3, layer.width * POINT);
    if (layer.mark === "bars" || layer.mark === "area") { ctx.globalAlpha *= layer.opacity; ctx.fillRect(x + 4, y - 5, SAMPLE - 8, 10); }
    else {
      if (layer.mark !== "points" && layer.dash) { ctx.setLineDash(dashOf(layer)); ctx.beginPath(); ctx.moveTo(x, y); ctx.lineTo(x + SAMPLE, y); ctx.stroke(); ctx.setLineDash([]); }
      if (layer.marker) mark(ctx, middle, y, clamp((layer.size * POINT) / 2, 3.5, 6), layer.marker, layer.open ? theme.paper : color, layer.open ? color : theme.paper, layer.open ? 1.4 : 0.8);
    }
    ctx.globalAlpha = hidden.has(key) ? 0.35 : 1; ctx.font = "12px sans-serif"; ctx.fillStyle = theme.ink; ctx.textAlign = "left"; ctx.textBaseline = "middle";
    const text = ellipsis(ctx, label, width - SAMPLE - 10);
    ctx.fillText(text, x + SAMPLE + 7, y);
    if (hidden.has(key)) { ctx.strokeStyle = theme.ink; ctx.lineWidth = 1; ctx.beginPath(); ctx.moveTo(x + SAMPLE + 7, y); ctx.lineTo(x + SAMPLE + 7 + ctx.measureText(text).width, y); ctx.stroke(); }
    ctx.globalAlpha = 1;
    boxes.push({ key, label, x: x - 3, y: y - LINE / 2, w: width, h: LINE });
  };
  if (g.below) g.under.forEach((line, k) => { const y = g.top + g.h + g.foot + 12 + LINE * k; if (line.heading) heading(line.heading, 4, y); for (const one of line.entries) entry(one, one.x, y, one.width); });
  else {
    let y = g.top + 8;
    for (const { heading: text, rows } of g.listed) {
      if (text) { heading(text, g.left + g.w + 14, y); y += LINE; }
      for (const row of rows) { entry(row, g.left + g.w + 14, y, g.side - 10); y += LINE; }
      y += 0.5 * LINE;
    }
  }
  return boxes;
}

// hidden: keys of entries; spot: the place that is pointed at
function drawAll(ctx, g, model, hidden, spot, theme) {
  const off = new Set([...hidden].flatMap((key) => [...membersOf(g.layers, key)]));
  drawAxes(ctx, g, model, theme.ink);
  ctx.save(); ctx.beginPath(); ctx.rect(g.left, g.top, g.w, g.h); ctx.clip();
  const order = g.layers.map((layer, k) => [layer.order ?? (layer.mark === "area" ? 1 : layer.mark === "texts" || layer.mark === "flag" ? 3 : 2), k]).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  for (const [, k] of order) if (!off.has(k) && placed(g.layers[k])) drawLayer(ctx, g, g.layers[k], theme);
  ctx.restore();
  if (spot) { ctx.beginPath(); ctx.arc(spot.px, spot.py, 7, 0, 2 * Math.PI); ctx.strokeStyle = theme.ink; ctx.lineWidth = 1.5; ctx.setLineDash([3, 3]); ctx.stroke(); ctx.setLineDash([]); }
  const boxes = drawLegend(ctx, g, theme, hidden);
  ctx.fillStyle = theme.ink; ctx.textAlign = "left"; ctx.textBaseline = "top"; ctx.font = "600 13px sans-serif";
  g.head.forEach((line, k) => ctx.fillText(line, 4, 4 + LINE * k));
  ctx.font = "12px sans-serif"; g.sub.forEach((line, k) => ctx.fillText(line, 4, 4 + LINE * (g.head.length + k)));
  return boxes;
}
