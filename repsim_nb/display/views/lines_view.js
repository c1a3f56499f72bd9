
// -- lines under the hand

// What can be pointed at: [{layer, place, x, y, px, py}] of the layers that are seen.
function spotsOf(g, hidden) {
  const off = new Set([...hidden].flatMap((key) => [...membersOf(g.layers, key)])), found = [];
  g.layers.forEach((layer, k) => {
    if (off.has(k) || !["line", "points", "bars", "ranges"].includes(layer.mark)) return;
    const across = layer.mark === "ranges" ? layer.low.map((v, i) => (known(v) && known(layer.high[i]) ? (v + layer.high[i]) / 2 : null)) : layer.x;
    across.forEach((x, i) => {
      if (!known(x) || !known(layer.y[i])) return;
      const px = g.px(x), py = g.py(layer.y[i]) - layer.raised * POINT;
      if (px >= g.left - 2 && px <= g.left + g.w + 2 && py >= g.top - 2 && py <= g.top + g.h + 2) found.push({ layer: k, place: i, x, y: layer.y[i], px, py });
    });
  });
  return found;
}

function render({ model, el }) {
  const { stage, canvas, tip, tools } = parts(el, "rs-lines"), entries = element("div"), hidden = new Set();
  stage.append(entries);
  let g = null, spot = null, drawnBoxes = "";
  const draw = (room) => {
    const ratio = window.devicePixelRatio || 1, ruler = canvas.getContext("2d");
    ruler.setTransform(1, 0, 0, 1, 0, 0);
    g = layout(model, ruler, room);
    if (spot) spot = spotsOf(g, hidden).find((one) => one.layer === spot.layer && one.place === spot.place) || null;
    place(drawAll(fitted(canvas, g.width, g.height, ratio), g, model, hidden, spot, themeOf(el)));
    canvas.setAttribute("aria-label", `${model.get("title").replace(/\n/g, ", ")}: lines over ${model.get("x_title")}. Left and right move along a line, up and down to another one.`);
    tell();
  };
  const view = painter(el, canvas, draw, () => view.paint());
  const place = (boxes) => {
    const now = JSON.stringify([boxes, [...hidden]]);
    if (now === drawnBoxes) return;
    const focused = document.activeElement?.dataset?.key;
    drawnBoxes = now;
    entries.replaceChildren(...boxes.map(({ key, label, x, y, w, h }) => {
      const button = element("button", "rs-entry"), visible = !hidden.has(key);
      button.type = "button"; button.dataset.key = key; button.title = `${visible ? "Hide" : "Show"} ${label}`;
      button.setAttribute("aria-label", label); button.setAttribute("aria-pressed", String(visible));
      Object.assign(button.style, { left: `${x}px`, top: `${y}px`, width: `${w}px`, height: `${h}px` });
      button.addEventListener("click", () => { if (visible) hidden.add(key); else hidden.delete(key); view.paint(); });
      return button;
    }));
    if (focused) [...entries.children].find((one) => one.dataset.key === focused)?.focus();
  };
  const nameOf = (k) => g.layers[k].label || g.layers.find((one) => one.label && one.mark !== "heading" && !placed(one) && one.colors[0] === g.layers[k].colors[0])?.label || "";
  const tell = () => {
    if (!spot || !g) { tip.style.display = "none"; return; }
    const { layer, place: at, x, y, px, py } = spot, its = g.layers[layer], name = nameOf(layer);
    const words = (axis, v) => model.get(`${axis}_ticks`).find(([tick]) => tick === v)?.[1] ?? plain(v);
    const line = (axis, text) => element("div", "", `${model.get(`${axis}_title`).replace(/\n/g, " ") || axis}: ${text}`);
    const across = its.mark === "ranges" ? `${plain(its.low[at])} to ${plain(its.high[at])}` : words("x", x);
    tip.replaceChildren(...(name ? [element("b", "", name)] : []), line("x", across), line("y", words("y", y)));
    placeTip(tip, canvas, px - 6, py - 6, 12, 12);
  };
  const point = (found) => { if (found?.layer === spot?.layer && found?.place === spot?.place) return; spot = found; tell(); view.paint(); };
  const where = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  const near = ([x, y]) => {
    let best = null, least = NEAR;
    for (const one of spotsOf(g, hidden)) {
      const its = g.layers[one.layer], bar = its.mark === "bars" ? [g.px(one.x - its.width / 2), g.px(one.x + its.width / 2)] : null;
      const inside = bar && x >= Math.min(...bar) && x <= Math.max(...bar) && y >= Math.min(one.py, g.py(0)) && y <= Math.max(one.py, g.py(0));
      const far = inside ? 0 : Math.hypot(one.px - x, one.py - y);
      if (far < least) { least = far; best = one; }
    }
    return best;
  };
  const step = (key) => {
    const every = spotsOf(g, hidden), own = every.filter((one) => one.layer === spot?.layer).sort((a, b) => a.px - b.px || a.place - b.place);
    if (!spot || !own.length) return every[0] || null;
    if (key === "ArrowLeft" || key === "ArrowRight") return own[clamp(own.findIndex((one) => one.place === spot.place) + (key === "ArrowRight" ? 1 : -1), 0, own.length - 1)];
    const layers = [...new Set(every.map((one) => one.layer))], next = layers[(layers.indexOf(spot.layer) + (key === "ArrowDown" ? 1 : layers.length - 1)) % layers.length];
    return every.filter((one) => one.layer === next).sort((a, b) => Math.abs(a.px - spot.px) - Math.abs(b.px - spot.px))[0];
  };
  const listen = {
    pointermove: (event) => { if (g) point(near(where(event))); },
    pointerdown: (event) => { if (g) point(near(where(event))); },
    pointerleave: () => point(null),
    blur: () => point(null),
    keydown: (event) => {
      if (!g) return;
      if (event.key.startsWith("Arrow")) point(step(event.key));
      else if (event.key === "Escape") point(null);
      else return;
      event.preventDefault(); event.stopPropagation();
    },
  };
  for (const [name, call] of Object.entries(listen)) canvas.addEventListener(name, call);
  exportTools(tools, {
    title: () => model.get("title").split("\n")[0] || model.get("y_title"), size: () => [g.width, g.height],
    paint: (ctx) => drawAll(ctx, g, model, hidden, null, LIGHT),
    rows: () => [["layer", "mark", "x", "y", "low", "high"], ...g.layers.flatMap((layer, k) => (placed(layer) && !["texts", "flag"].includes(layer.mark) ? Array.from({ length: Math.max(layer.x.length, layer.y.length) }, (_, i) => [nameOf(k), layer.mark, layer.x[i], layer.y[i], layer.low[i], layer.high[i]]) : []))],
  });
  const names = TRAITS.map((name) => "change:" + name).join(" "), another = () => { spot = null; hidden.clear(); view.paint(); };
  model.on(names, another);
  view.paint();
  return () => { model.off(names, another); view.end(); };
}

export { show };
export default { render };
