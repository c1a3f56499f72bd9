// A matrix on a canvas: redrawn whole at every change (a hundred by a hundred cells take a few milliseconds).
const TRAITS = ["values", "row_labels", "column_labels", "row_title", "column_title", "title", "subtitle", "low", "high", "colors", "bar_label", "chosen", "texts", "row_breaks", "column_breaks"];
const BAR = 14, GAP = 18, TICK = 4;

// Two decimals, and more where all values are small.
function decimals(model) {
  const span = model.get("high") - model.get("low");
  return span > 0 ? Math.max(2, 1 + Math.ceil(-Math.log10(span))) : 2;
}

function isDark(hex) {
  const part = (i) => parseInt(hex.slice(i, i + 2), 16);
  return 0.299 * part(1) + 0.587 * part(3) + 0.114 * part(5) < 128;
}

function layout(model, ctx, room) {
  const rows = model.get("row_labels"), columns = model.get("column_labels");
  ctx.font = "12px sans-serif";
  const widest = (labels) => Math.min(190, Math.max(0, ...labels.map((l) => ctx.measureText(l).width)));
  const slanted = widest(columns) > 34;
  const bottom = (slanted ? widest(columns) * 0.72 + 14 : 18) + TICK + (model.get("column_title") ? 20 : 0);
  const margin = (slot) => Math.max(widest(rows) + TICK + 4 + (model.get("row_title") ? 20 : 0), slanted ? widest(columns) * 0.72 + 12 - slot / 2 : 0);
  const right = GAP + BAR + 56 + (slanted ? 6 : 0), top = (model.get("title") ? 20 : 0) + (model.get("subtitle") ? 18 : 0) + 8;
  const fit = (count, space) => Math.max(4, Math.min(46, Math.floor(space / Math.max(1, count))));
  const cell = { w: fit(columns.length, room - margin(46) - right), h: fit(rows.length, 480) };
  cell.w = Math.max(cell.w, Math.ceil(110 / Math.max(1, columns.length))); cell.h = Math.max(cell.h, Math.ceil(150 / Math.max(1, rows.length)));
  const w = cell.w * columns.length, h = cell.h * rows.length;
  const left = margin(cell.w), stride = Math.max(1, Math.ceil((slanted ? 14 : widest(columns) + 6) / cell.w));
  ctx.font = "600 13px sans-serif";
  const head = Math.max(ctx.measureText(model.get("title")).width, ctx.measureText(model.get("subtitle")).width);
  return { left, top, cell, w, h, slanted, stride, width: Math.max(left + w + right, Math.min(room, 8 + head + 12)), height: top + h + bottom };
}

function colorOf(model, value) {
  const colors = model.get("colors"), low = model.get("low"), high = model.get("high");
  const share = high > low ? (value - low) / (high - low) : 0;
  return colors[Math.max(0, Math.min(colors.length - 1, Math.round(share * (colors.length - 1))))];
}

function hatch(ctx, x, y, w, h) {
  ctx.save();
  ctx.beginPath(); ctx.rect(x, y, w, h); ctx.clip();
  ctx.fillStyle = "#c8c8c8"; ctx.fillRect(x, y, w, h);
  ctx.strokeStyle = "#ffffff"; ctx.lineWidth = 1; ctx.beginPath();
  for (let s = -h; s < w; s += 6) { ctx.moveTo(x + s, y + h); ctx.lineTo(x + s + h, y); }
  ctx.stroke(); ctx.restore();
}

function drawLabels(ctx, g, rows, columns, text) {
  ctx.fillStyle = text; ctx.font = "12px sans-serif"; ctx.textBaseline = "middle"; ctx.textAlign = "right";
  const every = (size) => Math.max(1, Math.ceil(14 / size));
  for (let i = 0; i < rows.length; i += every(g.cell.h)) ctx.fillText(ellipsis(ctx, rows[i], 190), g.left - TICK - 2, g.top + (i + 0.5) * g.cell.h);
  for (let j = 0; j < columns.length; j += g.stride) {
    const x = g.left + (j + 0.5) * g.cell.w, y = g.top + g.h + TICK + 2;
    ctx.save(); ctx.translate(x, y);
    if (g.slanted) { ctx.rotate(-Math.PI / 4); ctx.textAlign = "right"; ctx.fillText(ellipsis(ctx, columns[j], 190), 0, 4); }
    else { ctx.textAlign = "center"; ctx.textBaseline = "top"; ctx.fillText(columns[j], 0, 0); }
    ctx.restore();
  }
}

function drawTitles(ctx, g, model, text) {
  ctx.fillStyle = text; ctx.textAlign = "left"; ctx.textBaseline = "top";
  ctx.font = "600 13px sans-serif"; ctx.fillText(ellipsis(ctx, model.get("title"), g.width - 10), 4, 2);
  ctx.font = "12px sans-serif"; ctx.fillText(ellipsis(ctx, model.get("subtitle"), g.width - 10), 4, 20);
  ctx.textAlign = "center";
  ctx.fillText(ellipsis(ctx, model.get("column_title"), g.w + 90), g.left + g.w / 2, g.height - 16);
  ctx.save(); ctx.translate(4, g.top + g.h / 2); ctx.rotate(-Math.PI / 2); ctx.fillText(ellipsis(ctx, model.get("row_title"), g.h + 30), 0, 0); ctx.restore();
}

function drawBar(ctx, g, model, text) {
  const colors = model.get("colors"), x = g.left + g.w + GAP, low = model.get("low"), high = model.get("high");
  for (let s = 0; s < g.h; s += 1) { ctx.fillStyle = colors[Math.round((1 - s / g.h) * (colors.length - 1))]; ctx.fillRect(x, g.top + s, BAR, 1.5); }
  ctx.fillStyle = text; ctx.font = "11px sans-serif"; ctx.textAlign = "left"; ctx.textBaseline = "middle";
  for (const share of [0, 0.5, 1]) ctx.fillText((low + share * (high - low)).toFixed(decimals(model)).replace(/\.?0+$/, "") || "0", x + BAR + 4, g.top + (1 - share) * g.h);
  ctx.save(); ctx.translate(x + BAR + 36, g.top + g.h / 2); ctx.rotate(-Math.PI / 2); ctx.textAlign = "center"; ctx.textBaseline = "top";
  ctx.fillText(ellipsis(ctx, model.get("bar_label"), g.h + 40), 0, 0); ctx.restore();
}

function draw(model, el, canvas) {
  const ctx = canvas.getContext("2d"), values = model.get("values"), texts = model.get("texts");
  const g = layout(model, ctx, Math.max(320, Math.min(el.parentElement?.clientWidth || 760, 900)));
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(g.width * ratio); canvas.height = Math.round(g.height * ratio);
  canvas.style.width = g.width + "px"; canvas.style.height = g.height + "px";
  ctx.scale(ratio, ratio);
  g.picture = model.get("picture");
  const text = inkOf(el), chosen = model.get("chosen");
  values.forEach((row, i) => row.forEach((value, j) => {
    const x = g.left + j * g.cell.w, y = g.top + i * g.cell.h;
    if (value === null) return hatch(ctx, x, y, g.cell.w, g.cell.h);
    const color = colorOf(model, value);
    ctx.fillStyle = color; ctx.fillRect(x, y, g.cell.w + 0.5, g.cell.h + 0.5);
    const written = texts[i]?.[j];
    if (g.cell.w < 30 || g.cell.h < 16 || !written) return;
    ctx.fillStyle = isDark(color) ? "#ffffff" : "#000000"; ctx.font = "11px sans-serif"; ctx.textAlign = "center"; ctx.textBaseline = "middle";
    ctx.fillText(written, x + g.cell.w / 2, y + g.cell.h / 2);
  }));
  ctx.strokeStyle = "#ffffff"; ctx.lineWidth = 2; ctx.beginPath();
  for (const i of model.get("row_breaks")) { ctx.moveTo(g.left, g.top + i * g.cell.h); ctx.lineTo(g.left + g.w, g.top + i * g.cell.h); }
  for (const j of model.get("column_breaks")) { ctx.moveTo(g.left + j * g.cell.w, g.top); ctx.lineTo(g.left + j * g.cell.w, g.top + g.h); }
  ctx.stroke();
  if (chosen.length === 2 && chosen[0] < values.length && chosen[1] < values[0].length) {
    ctx.strokeStyle = "#d55e00"; ctx.lineWidth = 3;
    ctx.strokeRect(g.left + chosen[1] * g.cell.w + 1.5, g.top + chosen[0] * g.cell.h + 1.5, g.cell.w - 3, g.cell.h - 3);
  }
  drawLabels(ctx, g, model.get("row_labels"), model.get("column_labels"), text);
  drawTitles(ctx, g, model, text);
  drawBar(ctx, g, model, text);
  canvas.setAttribute("aria-label", `${model.get("title")}: ${values.length} by ${values[0]?.length || 0} cells. Arrow keys move, Enter chooses a cell.`);
  return g;
}

function render({ model, el }) {
  el.classList.add("rs-matrix");
  const canvas = document.createElement("canvas"), tip = document.createElement("div");
  canvas.tabIndex = 0; canvas.setAttribute("role", "img"); tip.className = "rs-tip";
  el.append(canvas, tip);
  let g = null, cursor = [0, 0];
  const redraw = () => { show(null); view.paint(); };
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    const i = Math.floor((event.clientY - box.top - g.top) / g.cell.h), j = Math.floor((event.clientX - box.left - g.left) / g.cell.w);
    return i >= 0 && j >= 0 && i < model.get("row_labels").length && j < model.get("column_labels").length ? [i, j] : null;
  };
  const show = (cell) => {
    if (!cell) { tip.style.display = "none"; return; }
    const [i, j] = cell, value = model.get("values")[i][j];
    tip.replaceChildren();
    const name = document.createElement("b"); name.textContent = `${model.get("row_labels")[i]} × ${model.get("column_labels")[j]}`;
    tip.append(name, document.createElement("br"), value === null ? "undefined: " + (model.get("notes")[`${i},${j}`] || "") : value.toFixed(decimals(model) + 2));
    tip.style.display = "block";
    const x = g.left + (j + 1) * g.cell.w + 6, limit = canvas.clientWidth - tip.offsetWidth - 4;
    tip.style.left = Math.max(0, Math.min(x, limit)) + "px"; tip.style.top = Math.max(0, g.top + i * g.cell.h - tip.offsetHeight - 4) + "px";
  };
  const choose = (cell) => {
    if (!cell || !g) return;
    cursor = cell;
    model.set("chosen", cell); model.set("seen", g.picture); model.set("presses", model.get("presses") + 1); model.save_changes();
  };
  canvas.addEventListener("mousemove", (event) => g && show(at(event)));
  canvas.addEventListener("mouseleave", () => show(null));
  canvas.addEventListener("blur", () => show(null));
  canvas.addEventListener("click", (event) => g && choose(at(event)));
  canvas.addEventListener("keydown", (event) => {
    if (!model.get("values").length) return;
    const clamp = (value, count) => Math.max(0, Math.min(count - 1, value));
    const within = (i, j) => [clamp(i, model.get("row_labels").length), clamp(j, model.get("column_labels").length)];
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (event.key === "Enter" || event.key === " ") choose(within(...cursor));
    else if (step) {
      cursor = within(cursor[0] + step[0], cursor[1] + step[1]);
      show(cursor);
    } else return;
    event.preventDefault(); event.stopPropagation();
  });
  const names = TRAITS.map((name) => "change:" + name).join(" "), view = painter(el, canvas, () => { g = draw(model, el, canvas); }, redraw);
  model.on(names, redraw);
  redraw();
  return () => { model.off(names, redraw); view.end(); };
}

export { show };
export default { render };
