
// -- the matrix under the hand

function render({ model, el }) {
  const { canvas, tip, tools } = parts(el, "rs-matrix"), hand = { hover: null, cursor: null, keyed: false };
  let g = null, image = null;
  const forget = () => { image = null; };
  const elsewhere = () => (model.get("hovered")?.length === 2 ? model.get("hovered") : null);  // in a linked view
  const mark = () => hand.hover || elsewhere() || (hand.keyed ? hand.cursor : null);
  const draw = (room) => {
    const ratio = window.devicePixelRatio || 1, ruler = canvas.getContext("2d");
    ruler.setTransform(1, 0, 0, 1, 0, 0);
    g = windowed(layout(model, hand, ruler, room), hand.view);
    g.picture = model.get("picture");
    image ??= imageOf(g, model.get("colors"));
    drawAll(fitted(canvas, g.width, g.height, ratio), g, model, image, mark(), themeOf(el), ratio);
    canvas.setAttribute("aria-label", `${model.get("title")}: ${g.rows.length} by ${g.columns.length} cells. Arrow keys move, Enter chooses a cell, plus and minus zoom, 0 shows everything.`);
    if (hand.keyed && hand.cursor && !hand.hover) tell(hand.cursor);
  };
  const view = painter(el, canvas, draw, () => redraw());
  const redraw = () => { forget(); point(null); };
  const nav = navigation(canvas, hand, () => g && { left: g.left, top: g.top, w: g.w, h: g.h }, () => (g ? mostZoom(g) : 1), () => { view.paint(); });

  const at = ([x, y]) => {
    if (!g || x < g.left || y < g.top || x >= g.left + g.w || y >= g.top + g.h) return null;
    const r = Math.floor((y - g.top + g.y) / g.cell.h), c = Math.floor((x - g.left + g.x) / g.cell.w);
    return r < g.rows.length && c < g.columns.length ? [g.rows[r], g.columns[c]] : null;
  };
  const tell = (cell) => {
    if (!cell || !g) { tip.style.display = "none"; return; }
    const [i, j] = cell, value = model.get("values")[i]?.[j], r = g.rows.indexOf(i), c = g.columns.indexOf(j);
    if (r < 0 || c < 0) { tip.style.display = "none"; return; }
    const name = element("b", "", `${model.get("row_labels")[i]} × ${model.get("column_labels")[j]}`);
    tip.replaceChildren(name, element("br"), typeof value === "number" ? value.toFixed(decimals(g.limits) + 2) : "undefined: " + (model.get("notes")[`${i},${j}`] || ""));
    if (model.get("marks").some(([r, c]) => r === i && c === j)) tip.append(element("br"), `• ${model.get("mark_meaning")}`);
    placeTip(tip, canvas, ...g.place(r, c), g.cell.w, g.cell.h);
  };
  const point = (cell) => {
    const moved = String(cell) !== String(hand.hover);
    hand.hover = cell;
    if (moved) model.set("hovered", cell || []);
    tell(cell || (hand.keyed ? hand.cursor : null));
    if (moved || !image) view.paint();
  };
  const choose = (cell) => {
    if (!cell || !g) return;
    hand.cursor = cell;
    model.set("chosen", cell); model.set("seen", g.picture); model.set("presses", model.get("presses") + 1); model.save_changes();
    view.paint();
  };
  const step = (key) => {
    const [dr, dc] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[key];
    const [r, c] = hand.cursor ? [g.rows.indexOf(hand.cursor[0]), g.columns.indexOf(hand.cursor[1])] : [0, 0];
    const next = [clamp(Math.max(0, r) + dr, 0, g.rows.length - 1), clamp(Math.max(0, c) + dc, 0, g.columns.length - 1)];
    hand.cursor = [g.rows[next[0]], g.columns[next[1]]]; hand.keyed = true; hand.hover = null;
    nav.reveal(...g.place(...next), g.cell.w, g.cell.h);
    windowed(g, hand.view); tell(hand.cursor); view.paint();
  };
  const where = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  let pressed = null;
  const listen = {
    pointerdown: (event) => { pressed = nav.down(event) ? null : where(event); if (hand.moving) { point(null); canvas.setPointerCapture?.(event.pointerId); } },
    pointermove: (event) => { if (nav.move(event)) return; if (g && event.pointerType !== "touch") point(at(where(event))); },
    pointerup: (event) => { if (!nav.up(event) && pressed && g) { hand.keyed = false; choose(at(where(event))); point(at(where(event))); } pressed = null; },
    pointercancel: (event) => { nav.up(event); pressed = null; },
    pointerleave: () => point(null),
    focus: () => { if (canvas.matches(":focus-visible") && g?.rows.length && g.columns.length) { hand.keyed = true; hand.cursor ??= model.get("chosen").length ? [...model.get("chosen")] : [g.rows[0], g.columns[0]]; tell(hand.cursor); view.paint(); } },
    blur: () => { hand.keyed = false; point(null); view.paint(); },
    keydown: (event) => {
      if (!g || !g.values.length) return;
      if (nav.key(event)) { /* done */ }
      else if (event.key === "Enter" || event.key === " ") choose(hand.cursor || [g.rows[0], g.columns[0]]);
      else if (event.key.startsWith("Arrow")) step(event.key);
      else if (event.key === "Escape") { hand.keyed = false; point(null); view.paint(); }
      else return;
      event.preventDefault(); event.stopPropagation();
    },
  };
  for (const [name, call] of Object.entries(listen)) canvas.addEventListener(name, call);

  zoomTools(tools, nav, hand, "Drag to move (or hold Shift and drag)");
  exportTools(tools, {
    title: () => model.get("title"), size: () => [g.width, g.height],
    paint: (ctx) => drawAll(ctx, g, model, null, null, LIGHT, ctx instanceof SvgContext ? 1 : 2),
    rows: () => [["", ...g.columnNames], ...g.rows.map((i, r) => [g.rowNames[r], ...g.columns.map((j) => g.values[i][j])])],
  });
  tools.append(element("span", "rs-gap"));
  const scale = element("select"), filter = element("input");
  scale.title = "Color scale"; scale.setAttribute("aria-label", "color scale");
  for (const [value, text] of [["measure", "scale: by measure"], ["locked", "scale: locked"], ["free", "scale: free"]]) { const option = element("option", "", text); option.value = value; scale.append(option); }
  scale.addEventListener("change", () => {
    const chosen = scale.value;
    if (chosen === "locked" && g) model.set("limits", [...g.limits]);
    model.set("scaling", chosen); model.save_changes();
  });
  filter.type = "search"; filter.setAttribute("aria-label", "filter rows and columns by their labels");
  filter.addEventListener("input", () => { hand.view = WHOLE; model.set("filter", filter.value); model.save_changes(); });
  tools.append(scale, filter);
  const settings = () => {
    filter.placeholder = /layer|^$/.test(model.get("row_title")) ? "filter layers" : "filter labels";
    const labels = [...model.get("row_labels"), ...model.get("column_labels")], words = model.get("filter").toLowerCase().split(/\s+/).filter(Boolean);
    if (filter.value !== model.get("filter")) filter.value = model.get("filter");
    scale.value = model.get("scaling");
    filter.style.display = model.get("row_labels").length >= FILTER_FROM || model.get("column_labels").length >= FILTER_FROM || words.length ? "" : "none";
    filter.setAttribute("aria-invalid", String(words.length > 0 && !labels.some((label) => words.every((word) => label.toLowerCase().includes(word)))));
    const zooms = g ? mostZoom(g) > 1.01 : false;
    for (const button of [...tools.children].slice(0, 4)) button.style.display = zooms ? "" : "none";
  };
  const names = TRAITS.map((name) => "change:" + name).join(" "), another = () => { if (hand.cursor && (hand.cursor[0] >= model.get("row_labels").length || hand.cursor[1] >= model.get("column_labels").length)) hand.cursor = null; redraw(); settings(); };
  model.on(names, another); model.on("change:hovered", view.paint);
  redraw();
  const drawn = new MutationObserver(settings);  // whether zoom is of use is known when it is drawn
  drawn.observe(canvas, { attributes: true, attributeFilter: ["data-drawn"] });
  return () => { model.off(names, another); model.off("change:hovered", view.paint); view.end(); nav.end(); drawn.disconnect(); };
}

export { show };
export default { render };
