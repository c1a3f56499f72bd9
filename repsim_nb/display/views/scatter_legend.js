
// -- the legend: each entry shows or hides its points

// The points of an entry: those with its color, its shape or both, whatever tells the entries of its heading apart.
function membersOf(model, { rows }) {
  const colors = model.get("colors"), shapes = model.get("shapes"), ringed = new Set(model.get("ringed"));
  const byColor = rows.length > 1 ? new Set(rows.map((row) => row.color)).size > 1 : rows[0]?.color !== NEUTRAL, byShape = new Set(rows.map((row) => row.shape)).size > 1 || !byColor;
  return ({ color, shape }) => (i) => (shape === "ring" ? ringed.has(i) : (!byColor || colors[i] === color) && (!byShape || shapes[i] === shape));
}

function hiddenBy(model, g, hidden) {
  if (!hidden.size) return () => false;
  const calls = g.groups.flatMap((group) => { const its = membersOf(model, group); return group.rows.filter((row) => hidden.has(row.key)).map(its); });
  return (i) => calls.some((call) => call(i));
}

function drawScale(ctx, [name, low, high, colors], x, y, ink, width) {
  const places = Math.abs(high - low) >= 4 && Number.isInteger(low) && Number.isInteger(high) ? 0 : Math.max(0, Math.ceil(1.3 - Math.log10(Math.abs(high - low) || 1)));
  ctx.font = "600 12px sans-serif"; ctx.fillStyle = ink; ctx.textBaseline = "middle"; ctx.textAlign = "left"; ctx.fillText(ellipsis(ctx, name, width), x, y);
  ctx.font = "11px sans-serif";
  return (along, text) => { for (let s = 0; s < 130; s += 1) { ctx.fillStyle = colors[Math.round((s / 129) * (colors.length - 1))]; along(s); } ctx.fillStyle = ink; for (const share of [0, 0.5, 1]) text(share, (low + share * (high - low)).toFixed(places)); };
}

// -> the box of every entry, for the buttons that lie over them
function drawLegend(ctx, g, model, theme, seen, hidden) {
  const scale = model.get("scale"), boxes = [], { ink } = theme;
  const entry = (row, x, y, width) => {
    ctx.globalAlpha = hidden.has(row.key) ? 0.35 : 1;
    mark(ctx, x + 6, y, 5, row.shape, seen(row.color), "#ffffff", 0.8);
    ctx.font = "12px sans-serif"; ctx.fillStyle = ink; ctx.textAlign = "left"; ctx.textBaseline = "middle";
    const text = ellipsis(ctx, row.label, width - 26);
    ctx.fillText(text, x + 18, y);
    if (hidden.has(row.key)) { ctx.strokeStyle = ink; ctx.lineWidth = 1; ctx.beginPath(); ctx.moveTo(x + 18, y); ctx.lineTo(x + 18 + ctx.measureText(text).width, y); ctx.stroke(); }
    ctx.globalAlpha = 1;
    boxes.push({ ...row, x: x - 3, y: y - LINE / 2, w: width, h: LINE });
  };
  if (g.narrow) {
    let y = g.top + g.h + 34 + LINE * g.foot.length;
    for (const line of g.under) {
      if (line.scale) {
        const paint = drawScale(ctx, scale, 4, y, ink, 120), x = 130;
        paint((s) => ctx.fillRect(x + s, y - 6, 1.5, 12), (share, text) => { ctx.textAlign = "center"; ctx.fillText(text, x + share * 129, y + 14); });
        y += 2 * LINE; continue;
      }
      ctx.font = "600 12px sans-serif"; ctx.fillStyle = ink; ctx.textAlign = "left"; ctx.textBaseline = "middle"; ctx.fillText(line.heading, 4, y);
      for (const row of line.entries) entry(row, row.x, y, row.width);
      y += LINE;
    }
    return boxes;
  }
  const x = g.left + g.w + 14;
  let y = g.top + 8;
  if (scale) {
    const paint = drawScale(ctx, scale, x, y, ink, g.side - 10);
    y += LINE;
    paint((s) => ctx.fillRect(x, y + 129 - s, 14, 1.5), (share, text) => ctx.fillText(text, x + 20, y + (1 - share) * 129));
    y += 130 + 1.3 * LINE;
  }
  for (const { heading, rows } of g.groups) {
    ctx.font = "600 12px sans-serif"; ctx.fillStyle = ink; ctx.textAlign = "left"; ctx.textBaseline = "middle"; ctx.fillText(ellipsis(ctx, heading, g.side - 10), x, y);
    y += LINE;
    for (const row of rows) { entry(row, x, y, g.side - 8); y += LINE; }
    y += 0.6 * LINE;
  }
  return boxes;
}

function drawWords(ctx, g, ink) {
  ctx.fillStyle = ink; ctx.textAlign = "left"; ctx.textBaseline = "top";
  let y = 4;
  for (const [font, lines] of [["600 13px sans-serif", g.head], ["12px sans-serif", g.sub]]) for (const line of lines) { ctx.font = font; ctx.fillText(line, 4, y); y += LINE; }
  ctx.font = "12px sans-serif";
  g.foot.forEach((line, k) => ctx.fillText(line, 4, g.top + g.h + 26 + k * LINE));
}

// -- everything

function drawAll(ctx, g, model, hand, theme, ratio) {
  const colors = model.get("colors"), shapes = model.get("shapes"), shown = model.get("shown"), chosen = model.get("chosen"), selected = new Set(model.get("selected")), hovered = model.get("hovered");
  const seen = (hex) => (theme.dark && /^#0{6}$/.test(hex) ? theme.ink : hex), color = (i) => seen(colors[i] || "#0072b2"), faint = (i) => selected.size > 0 && !selected.has(i);
  const { X, Y, n } = hand.cloud, off = hiddenBy(model, g, hand.hidden), inside = (i) => { const [x, y] = g.at(i); return x > g.left && x < g.left + g.w && y > g.top && y < g.top + g.h; };
  g.at = (i) => [g.ax + g.bx * X[i], g.ay + g.by * Y[i]];
  g.shown = (i) => i >= 0 && i < n && shown[i] !== false && !off(i);
  drawFrame(ctx, g, theme.ink);
  ctx.save(); ctx.beginPath(); ctx.rect(g.left, g.top, g.w, g.h); ctx.clip();
  const runs = model.get("runs").map((run) => run.filter(g.shown)).filter((run) => run.length), place = new Map();
  for (const run of runs) run.forEach((i, k) => place.set(i, k === 0 ? "first" : k === run.length - 1 ? "last" : "between"));
  for (const run of runs) drawRun(ctx, g, run, color, faint);
  if (n > MANY && !(ctx instanceof SvgContext)) drawMany(ctx, g, hand, stylesOf(model, hand, g, color, faint, theme), ratio);
  else for (let i = 0; i < n; i += 1) {
    if (!g.shown(i)) continue;
    const open = place.get(i) === "first", r = place.get(i) === "between" ? 0.7 * g.radius : g.radius, edge = open ? color(i) : "#ffffff";
    ctx.globalAlpha = faint(i) ? 0.25 : 1;
    mark(ctx, ...g.at(i), r, shapes[i], open ? theme.paper : color(i), edge, open ? 1.8 : g.radius > 2.5 ? 0.8 : 0);
  }
  ctx.globalAlpha = 1;
  for (const i of model.get("ringed")) if (g.shown(i)) mark(ctx, ...g.at(i), g.radius + 3, "ring", theme.ink);
  const ring = (i, style) => { ctx.beginPath(); ctx.setLineDash(style); ctx.arc(...g.at(i), g.radius + 5, 0, 2 * Math.PI); ctx.stroke(); ctx.setLineDash([]); };
  const rings = chosen.filter(g.shown), marked = [...new Set([...hovered, ...(hand.cursor === null ? [] : [hand.cursor])])].filter(g.shown);
  ctx.strokeStyle = theme.ink; ctx.lineWidth = 1;
  for (const i of hovered.length ? hovered : chosen) for (const j of model.get("links")[i] || []) if (g.shown(i) && g.shown(j)) { ctx.beginPath(); ctx.moveTo(...g.at(i)); ctx.lineTo(...g.at(j)); ctx.stroke(); }
  ctx.strokeStyle = RING; ctx.lineWidth = 2.5;
  rings.forEach((i) => ring(i, []));
  ctx.strokeStyle = theme.ink; ctx.lineWidth = 1.5;
  marked.forEach((i) => ring(i, [3, 3]));
  let visible = [];
  for (let i = 0; i < n && visible.length <= NAMED; i += 1) if (g.shown(i) && inside(i)) visible.push(i);
  const ends = runs.map((run) => run[run.length - 1]), few = visible.length <= NAMED, zoomed = g.k > 1.2;
  const named = !few ? [] : runs.length ? [...(ends.length <= 12 || zoomed ? ends : []), ...(zoomed ? visible : [])] : visible;
  const taken = few ? visible.map((i) => { const [x, y] = g.at(i), r = Math.max(3, g.radius); return [x - r, y - r, 2 * r, 2 * r]; }) : [];
  drawNames(ctx, g, new Set([...rings, ...marked, ...named]), model.get("labels"), theme, new Set(rings), taken);
  if (hand.lasso.length > 1) {
    ctx.beginPath(); hand.lasso.forEach(([x, y], k) => (k ? ctx.lineTo(x, y) : ctx.moveTo(x, y))); ctx.closePath();
    ctx.fillStyle = RING; ctx.globalAlpha = 0.12; ctx.fill(); ctx.globalAlpha = 1; ctx.strokeStyle = RING; ctx.lineWidth = 1.2; ctx.setLineDash([5, 3]); ctx.stroke(); ctx.setLineDash([]);
  }
  ctx.restore();
  const boxes = drawLegend(ctx, g, model, theme, seen, hand.hidden);
  drawWords(ctx, g, theme.ink);
  return boxes;
}

// The kinds of marks, and the kind of each point or HIDDEN; kept until something of it changes.
function stylesOf(model, hand, g, color, faint, theme) {
  const key = [model.get("colors"), model.get("shapes"), model.get("shown"), model.get("selected"), theme.ink, [...hand.hidden].join()];
  if (hand.styles && hand.styles.key.every((part, k) => part === key[k])) return hand.styles;
  const shapes = model.get("shapes"), list = [], known = new Map(), of = new Uint16Array(hand.cloud.n).fill(HIDDEN);
  for (let i = 0; i < hand.cloud.n; i += 1) {
    if (!g.shown(i)) continue;
    const face = color(i), alpha = faint(i) ? 0.25 : 1, name = `${shapes[i]} ${face} ${alpha}`;
    if (!known.has(name)) { known.set(name, list.length); list.push([shapes[i], face, alpha]); }
    of[i] = known.get(name);
  }
  hand.styles = { key, list, of };
  return hand.styles;
}
