
// -- a matrix: one pixel a cell is drawn once, and enlarged to whole pixels of the screen

const TRAITS = ["values", "row_labels", "column_labels", "row_title", "column_title", "title", "subtitle", "low", "high", "colors", "bar_label", "chosen", "texts", "marks", "row_breaks", "column_breaks", "filter", "scaling", "limits", "most_rows"];
const DEFAULTS = { filter: "", scaling: "measure", limits: [], row_breaks: [], column_breaks: [], texts: [], notes: {}, marks: [], mark_meaning: "", most_rows: 0 };
const BAR = 14, GAP = 18, TICK = 4, LINE = 18, LARGEST = 96, CHOSEN = "#d55e00", HATCHED = "#c8c8c8";
const FILTER_FROM = 7;  // so many labels can be filtered

// Two decimals, and more where all values are small.
function decimals([low, high]) {
  const span = high - low;
  return span > 0 ? Math.max(2, 1 + Math.ceil(-Math.log10(span))) : 2;
}

function isDark(hex) {
  const part = (i) => parseInt(hex.slice(i, i + 2), 16);
  return 0.299 * part(1) + 0.587 * part(3) + 0.114 * part(5) < 128;
}

// The numbers of the rows or columns with every word of the filter in their label; all of them if there are none.
function filtered(labels, words) {
  const every = labels.map((_, k) => k), found = every.filter((k) => words.every((word) => labels[k].toLowerCase().includes(word)));
  return found.length ? found : every;
}

// What is shown of the table: rows and columns by their numbers, and the ends of the color scale.
function tableOf(model) {
  const values = model.get("values"), words = model.get("filter").toLowerCase().split(/\s+/).filter(Boolean);
  const rows = filtered(model.get("row_labels"), words), columns = filtered(model.get("column_labels"), words);
  let limits = [model.get("low"), model.get("high")];
  if (model.get("scaling") === "locked" && model.get("limits").length === 2) limits = model.get("limits");
  if (model.get("scaling") === "free") {
    let low = Infinity, high = -Infinity;
    for (const i of rows) for (const j of columns) { const v = values[i]?.[j]; if (typeof v === "number") { low = Math.min(low, v); high = Math.max(high, v); } }
    if (limits[0] < 0 && limits[0] === -limits[1]) { high = Math.max(Math.abs(low), Math.abs(high)); low = -high; }  // the middle color stays that of 0
    if (low < high && high < Infinity) limits = [low, high];
  }
  return { values, rows, columns, limits };
}

// The names as they find room; kept until the table or the room is another.
function cutOf(hand, ctx, rows, columns, most) {
  const key = JSON.stringify([rows, columns, most]);
  if (hand.cut?.key !== key) hand.cut = { key, rowShort: cutLabels(ctx, rows, most), columnShort: cutLabels(ctx, columns, most) };
  return hand.cut;
}

const tall = (room) => Math.round(clamp(0.75 * room + 100, 390, 540));  // by the room alone: another table does not move the page

function layout(model, hand, ctx, room) {
  const t = tableOf(model), rowNames = t.rows.map((i) => model.get("row_labels")[i]), columnNames = t.columns.map((j) => model.get("column_labels")[j]);
  ctx.font = "12px sans-serif";
  const most = Math.min(190, 0.3 * room), widest = (labels) => labels.reduce((found, label) => Math.max(found, Math.min(most, ctx.measureText(label).width)), 0);
  const across = widest(columnNames), slanted = across > 34;
  const bottom = (slanted ? across * 0.72 + 14 : 18) + TICK + (model.get("column_title") ? 20 : 0);
  const cut = cutOf(hand, ctx, rowNames, columnNames, most), words = (font, name) => { ctx.font = font; return wrap(ctx, model.get(name), room - 10).map((line) => ellipsis(ctx, line, room - 10)); };
  const head = words("600 13px sans-serif", "title"), sub = words("12px sans-serif", "subtitle"), top = LINE * (head.length + sub.length) + (head.length || sub.length ? 12 : 8), right = GAP + BAR + 58;
  const height = model.get("most_rows") ? Math.min(tall(room), Math.max(280, model.get("most_rows") * LARGEST + Math.round(0.72 * most) + 104)) : tall(room);
  const margin = (slot) => Math.max(widest(rowNames) + TICK + 4 + (model.get("row_title") ? 20 : 0), slanted ? across * 0.72 + 12 - slot / 2 : 0);
  const fit = (count, space) => clamp(space / Math.max(1, count), 0.5, LARGEST);
  const cell = { w: fit(t.columns.length, room - margin(46) - right), h: fit(t.rows.length, height - top - bottom) };
  cell.w = Math.min(cell.w, Math.max(1.7 * cell.h, 46)); cell.h = Math.min(cell.h, Math.max(1.7 * cell.w, 46));
  const w = cell.w * t.columns.length, h = cell.h * t.rows.length, left = margin(cell.w);
  return { ...t, rowNames, columnNames, ...cut, head, sub, left, top, w, h, slanted, most, width: room, height: model.get("snug") ? Math.min(height, top + Math.max(h + bottom, 230)) : height, base: cell, names: widest(rowNames) };
}

// The window onto the cells: their size now, the place of one, and those that can be seen.
function windowed(g, view) {
  const { k, x, y } = within(view, g), cell = { w: g.base.w * k, h: g.base.h * k };
  const first = [Math.floor(y / cell.h), Math.floor(x / cell.w)];
  const last = [Math.min(g.rows.length, Math.ceil((y + g.h) / cell.h)), Math.min(g.columns.length, Math.ceil((x + g.w) / cell.w))];
  const place = (r, c) => [g.left + c * cell.w - x, g.top + r * cell.h - y];
  return Object.assign(g, { cell, first, last, place, x, y, k });
}

const mostZoom = (g) => Math.max(1, 60 / Math.min(g.base.w, g.base.h));

function shade(g, colors, value) {
  const [low, high] = g.limits, share = high > low ? (value - low) / (high - low) : 0;
  return colors[clamp(Math.round(share * (colors.length - 1)), 0, colors.length - 1)];
}

// All cells as one small image, a pixel for each.
function imageOf(g, colors) {
  const canvas = element("canvas");
  canvas.width = Math.max(1, g.columns.length); canvas.height = Math.max(1, g.rows.length);  // a table may be empty
  const ctx = canvas.getContext("2d"), image = ctx.createImageData(canvas.width, canvas.height), numbers = new Uint32Array(image.data.buffer);
  const words = new Map(), word = (hex) => { if (!words.has(hex)) words.set(hex, 0xff000000 | (parseInt(hex.slice(5, 7), 16) << 16) | (parseInt(hex.slice(3, 5), 16) << 8) | parseInt(hex.slice(1, 3), 16)); return words.get(hex); };
  g.rows.forEach((i, r) => g.columns.forEach((j, c) => { const v = g.values[i]?.[j]; numbers[r * canvas.width + c] = word(typeof v === "number" ? shade(g, colors, v) : HATCHED); }));
  ctx.putImageData(image, 0, 0);
  return canvas;
}

function hatch(ctx, x, y, w, h) {
  ctx.save();
  ctx.beginPath(); ctx.rect(x, y, w, h); ctx.clip();
  ctx.strokeStyle = "#ffffff"; ctx.lineWidth = 1; ctx.beginPath();
  for (let s = -h; s < w; s += 6) { ctx.moveTo(x + s, y + h); ctx.lineTo(x + s + h, y); }
  ctx.stroke(); ctx.restore();
}

function drawCells(ctx, g, model, image, ratio) {
  const colors = model.get("colors"), texts = model.get("texts"), px = (v) => Math.round(v * ratio) / ratio;
  ctx.save(); ctx.beginPath(); ctx.rect(px(g.left), px(g.top), px(g.left + g.w) - px(g.left), px(g.top + g.h) - px(g.top)); ctx.clip();
  if (image) {
    ctx.imageSmoothingEnabled = false;
    const [x0, y0] = g.place(0, 0), [x1, y1] = g.place(g.rows.length, g.columns.length);
    ctx.drawImage(image, px(x0), px(y0), px(x1) - px(x0), px(y1) - px(y0));
  }
  for (let r = g.first[0]; r < g.last[0]; r += 1) for (let c = g.first[1]; c < g.last[1]; c += 1) {
    const value = g.values[g.rows[r]]?.[g.columns[c]], none = typeof value !== "number", large = g.cell.w >= 30 && g.cell.h >= 16;
    if (image && !large && !none) continue;
    const [x, y] = g.place(r, c).map(px), [w, h] = g.place(r + 1, c + 1).map(px);
    if (!image) { ctx.fillStyle = none ? HATCHED : shade(g, colors, value); ctx.fillRect(x, y, w - x, h - y); }
    if (none) { if (g.cell.w >= 5 && g.cell.h >= 5) hatch(ctx, x, y, w - x, h - y); continue; }
    const written = texts[g.rows[r]]?.[g.columns[c]];
    if (!large || !written) continue;
    ctx.fillStyle = isDark(shade(g, colors, value)) ? "#ffffff" : "#000000"; ctx.font = "11px sans-serif"; ctx.textAlign = "center"; ctx.textBaseline = "middle";
    ctx.fillText(written, (x + w) / 2, (y + h) / 2);
  }
  drawDots(ctx, g, model);
  ctx.strokeStyle = "#ffffff"; ctx.lineWidth = 2; ctx.beginPath();
  const before = (numbers, number) => numbers.filter((k) => k < number).length;
  for (const i of model.get("row_breaks")) { const [, y] = g.place(before(g.rows, i), 0); ctx.moveTo(g.left, y); ctx.lineTo(g.left + g.w, y); }
  for (const j of model.get("column_breaks")) { const [x] = g.place(0, before(g.columns, j)); ctx.moveTo(x, g.top); ctx.lineTo(x, g.top + g.h); }
  ctx.stroke();
  ctx.restore();
}

// A dot in the upper right corner of each marked cell, in the middle of a small one.
function drawDots(ctx, g, model) {
  const row = new Map(g.rows.map((i, r) => [i, r])), column = new Map(g.columns.map((j, c) => [j, c])), least = Math.min(g.cell.w, g.cell.h);
  const size = least >= 14 ? Math.min(3, 0.12 * least) : Math.max(0.6, 0.15 * least);
  for (const [i, j] of model.get("marks")) {
    const r = row.get(i), c = column.get(j);
    if (r === undefined || c === undefined || r < g.first[0] || r >= g.last[0] || c < g.first[1] || c >= g.last[1]) continue;
    const [x, y] = g.place(r, c), away = least >= 14 ? size + 2.5 : 0;
    ctx.fillStyle = isDark(shade(g, model.get("colors"), g.values[i][j])) ? "#ffffff" : "#000000";
    ctx.beginPath(); ctx.arc(away ? x + g.cell.w - away : x + g.cell.w / 2, away ? y + away : y + g.cell.h / 2, size, 0, 2 * Math.PI); ctx.fill();
  }
}

// The cell that was chosen, and the row and column of the one that is pointed at.
function drawMarks(ctx, g, chosen, mark, theme) {
  ctx.save(); ctx.beginPath(); ctx.rect(g.left - 1, g.top - 1, g.w + 2, g.h + 2); ctx.clip();
  const box = ([i, j]) => { const r = g.rows.indexOf(i), c = g.columns.indexOf(j); return r < 0 || c < 0 ? null : g.place(r, c); };
  const at = mark && box(mark), ring = chosen.length === 2 && box(chosen);
  if (at) for (const [color, width] of [["#ffffff", 3], ["#000000", 1]]) {
    ctx.strokeStyle = color; ctx.lineWidth = width; ctx.globalAlpha = 0.8;
    ctx.strokeRect(g.left - 4, at[1], g.w + 8, g.cell.h); ctx.strokeRect(at[0], g.top - 4, g.cell.w, g.h + 8);
  }
  ctx.globalAlpha = 1;
  if (ring) {
    const inset = Math.min(1.5, g.cell.w / 4);
    ctx.strokeStyle = "#ffffff"; ctx.lineWidth = 5; ctx.strokeRect(ring[0] + inset, ring[1] + inset, Math.max(2, g.cell.w - 2 * inset), Math.max(2, g.cell.h - 2 * inset));
    ctx.strokeStyle = CHOSEN; ctx.lineWidth = 3; ctx.strokeRect(ring[0] + inset, ring[1] + inset, Math.max(2, g.cell.w - 2 * inset), Math.max(2, g.cell.h - 2 * inset));
  }
  ctx.restore();
  if (!at) return;
  // their labels, also those for which there was no room
  ctx.font = "600 12px sans-serif"; ctx.textBaseline = "middle"; ctx.textAlign = "right";
  const label = (text, x, y, from) => {
    const short = ellipsis(ctx, text || "", g.most + 24), width = ctx.measureText(short).width + 6;
    ctx.fillStyle = theme.paper; ctx.fillRect(x + from * width + (from === -1 ? 3 : 0), y - 8, width, 16);
    ctx.fillStyle = theme.ink; ctx.fillText(short, x, y);
  };
  label(g.rowShort[g.rows.indexOf(mark[0])], g.left - TICK - 2, at[1] + g.cell.h / 2, -1);
  ctx.save(); ctx.translate(at[0] + g.cell.w / 2, g.top + g.h + TICK + 2);
  const name = g.columnShort[g.columns.indexOf(mark[1])];
  if (g.slanted) { ctx.rotate(-Math.PI / 4); label(name, 0, 4, -1); } else { ctx.textAlign = "center"; label(name, 0, 7, -0.5); }
  ctx.restore();
}

function drawLabels(ctx, g, ink) {
  ctx.fillStyle = ink; ctx.font = "12px sans-serif"; ctx.textBaseline = "middle"; ctx.textAlign = "right";
  const widest = g.slanted ? 14 : g.columnNames.reduce((found, name) => Math.max(found, ctx.measureText(name).width), 0) + 6;
  const by = Math.max(1, Math.ceil(14 / g.cell.h)), stride = Math.max(1, Math.ceil(widest / g.cell.w));
  for (let r = 0; r < g.rows.length; r += by) {
    const y = g.place(r, 0)[1] + g.cell.h / 2;
    if (y >= g.top && y <= g.top + g.h) ctx.fillText(g.rowShort[r], g.left - TICK - 2, y);
  }
  for (let c = 0; c < g.columns.length; c += stride) {
    const x = g.place(0, c)[0] + g.cell.w / 2;
    if (x < g.left || x > g.left + g.w) continue;
    ctx.save(); ctx.translate(x, g.top + g.h + TICK + 2);
    if (g.slanted) { ctx.rotate(-Math.PI / 4); ctx.textAlign = "right"; ctx.fillText(g.columnShort[c], 0, 4); }
    else { ctx.textAlign = "center"; ctx.textBaseline = "top"; ctx.fillText(g.columnNames[c], 0, 0); }
    ctx.restore();
  }
}

function drawTitles(ctx, g, model, ink) {
  ctx.fillStyle = ink; ctx.textAlign = "left"; ctx.textBaseline = "top";
  ctx.font = "600 13px sans-serif"; g.head.forEach((line, k) => ctx.fillText(line, 4, 2 + LINE * k));
  ctx.font = "12px sans-serif"; g.sub.forEach((line, k) => ctx.fillText(line, 4, 2 + LINE * (g.head.length + k)));
  const drop = g.slanted ? Math.min(g.most, g.columnNames.reduce((found, name) => Math.max(found, ctx.measureText(name).width), 0)) * 0.72 + 14 : 18;
  ctx.textAlign = "center";
  ctx.fillText(ellipsis(ctx, model.get("column_title"), Math.max(g.w + 90, 200)), Math.max(g.left + g.w / 2, 100), g.top + g.h + TICK + drop + 4);
  ctx.save(); ctx.translate(4, g.top + g.h / 2); ctx.rotate(-Math.PI / 2); ctx.fillText(ellipsis(ctx, model.get("row_title"), Math.max(g.h + 30, 160)), 0, 0); ctx.restore();
}

function drawBar(ctx, g, model, ink) {
  const colors = model.get("colors"), x = g.left + g.w + GAP, [low, high] = g.limits, h = Math.max(g.h, Math.min(190, g.height - g.top - 20)), places = decimals(g.limits);
  for (let s = 0; s < h; s += 1) { ctx.fillStyle = colors[Math.round((1 - s / h) * (colors.length - 1))]; ctx.fillRect(x, g.top + s, BAR, Math.min(1.5, h - s)); }
  const ticks = low < 0 && high > 0 ? [low, 0, high] : [low, (low + high) / 2, high], far = (v) => v === 0 || Math.abs(v / (high - low)) * h > 12;
  ctx.fillStyle = ctx.strokeStyle = ink; ctx.lineWidth = 1; ctx.font = "11px sans-serif"; ctx.textAlign = "left"; ctx.textBaseline = "middle";
  for (const v of ticks.filter((v) => !(low < 0 && high > 0) || far(v))) {
    const y = g.top + (high > low ? (high - v) / (high - low) : 1) * h;
    if (v === 0 && low < 0) { ctx.beginPath(); ctx.moveTo(x, y); ctx.lineTo(x + BAR + 3, y); ctx.stroke(); }
    ctx.fillText(v.toFixed(places).replace(/\.?0+$/, "") || "0", x + BAR + 4, y);
  }
  ctx.save(); ctx.translate(x + BAR + 38, g.top + h / 2); ctx.rotate(-Math.PI / 2); ctx.textAlign = "center"; ctx.textBaseline = "top";
  ctx.fillText(ellipsis(ctx, model.get("bar_label"), h + 40), 0, 0); ctx.restore();
}

function drawAll(ctx, g, model, image, mark, theme, ratio) {
  drawCells(ctx, g, model, image, ratio);
  drawLabels(ctx, g, theme.ink);
  drawTitles(ctx, g, model, theme.ink);
  drawBar(ctx, g, model, theme.ink);
  drawMarks(ctx, g, model.get("chosen"), mark, theme);
}
