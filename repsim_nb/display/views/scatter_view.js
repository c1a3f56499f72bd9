
// -- the map under the hand

function within_line([x, y], polygon) {
  let inside = false;
  polygon.forEach(([x1, y1], k) => {
    const [x0, y0] = polygon[(k || polygon.length) - 1];
    if (y0 > y !== y1 > y && x < ((x1 - x0) * (y - y0)) / (y1 - y0) + x0) inside = !inside;
  });
  return inside;
}

// The rows of a CSV file: positions, and the lines "name: value" of the notes as columns.
function rowsOf(model, { X, Y, n }, shown) {
  const facts = model.get("notes").map((note) => Object.fromEntries((note || "").split("\n").filter((line) => line.includes(": ")).map((line) => [line.slice(0, line.indexOf(": ")), line.slice(line.indexOf(": ") + 2)])));
  const names = [...new Set(facts.flatMap((one) => Object.keys(one)))], selected = new Set([...model.get("selected"), ...model.get("chosen")]), rows = [["label", "x", "y", ...names, "selected"]];
  for (let i = 0; i < n; i += 1) if (shown(i)) rows.push([model.get("labels")[i], X[i], Y[i], ...names.map((name) => facts[i]?.[name]), selected.has(i) ? 1 : 0]);
  return rows;
}

function render({ model, el }) {
  const { stage, canvas, tip, tools } = parts(el, "rs-scatter"), entries = element("div");
  stage.append(entries);
  let g = null, pressed = null, drawnBoxes = "";
  const hand = { cursor: null, lasso: [], hidden: new Set(), cloud: cloudOf(model.get("points")) };  // what is under way and nobody else's business
  const draw = (room) => {
    const ratio = window.devicePixelRatio || 1, ruler = canvas.getContext("2d");
    ruler.setTransform(1, 0, 0, 1, 0, 0);
    g = windowed(layout(model, hand, ruler, room), hand.view);
    g.picture = model.get("picture");
    const boxes = drawAll(fitted(canvas, g.width, g.height, ratio), g, model, hand, themeOf(el), ratio);
    place(boxes);
    canvas.setAttribute("aria-label", `${model.get("title")}: ${g.n} points. Arrow keys move to the nearest point that way, Enter chooses it, Escape takes the choice back; plus and minus zoom, 0 shows everything.`);
    if (hand.cursor !== null && g.shown(hand.cursor)) tell(stack(hand.cursor));
  };
  const view = painter(el, canvas, draw, () => redraw()), paint = () => view.paint(), redraw = () => { tell([]); paint(); };
  const nav = navigation(canvas, hand, () => g && { left: g.left, top: g.top, w: g.w, h: g.h }, () => (hand.cloud.n > 1 ? MOST_ZOOM : 1), () => { hover([]); paint(); });
  // buttons over the entries of the legend, which a keyboard reaches, too
  const place = (boxes) => {
    const now = JSON.stringify([boxes, [...hand.hidden]]);
    if (now === drawnBoxes) return;
    const focused = document.activeElement?.dataset?.key;
    drawnBoxes = now;
    entries.replaceChildren(...boxes.map((box) => {
      const button = element("button", "rs-entry"), visible = !hand.hidden.has(box.key);
      button.type = "button"; button.dataset.key = box.key; button.title = `${visible ? "Hide" : "Show"} ${box.label}`;
      button.setAttribute("aria-label", box.label); button.setAttribute("aria-pressed", String(visible));
      Object.assign(button.style, { left: `${box.x}px`, top: `${box.y}px`, width: `${box.w}px`, height: `${box.h}px` });
      button.addEventListener("click", () => { if (visible) hand.hidden.add(box.key); else hand.hidden.delete(box.key); redraw(); });
      return button;
    }));
    if (focused) [...entries.children].find((one) => one.dataset.key === focused)?.focus();
  };
  const where = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  const gap = (i, [x, y]) => { const [px, py] = g.at(i); return Math.hypot(px - x, py - y); };
  const stack = (i) => { const spot = g.at(i), found = []; for (let k = 0; k < g.n; k += 1) if (gap(k, spot) <= SAME && g.shown(k)) found.push(k); return found.sort((a, b) => gap(a, spot) - gap(b, spot)); };
  const near = (spot) => {
    if (spot[0] < g.left || spot[1] < g.top || spot[0] > g.left + g.w || spot[1] > g.top + g.h) return [];
    const { X, Y } = hand.cloud;
    let best = -1, least = NEAR ** 2;
    for (let i = 0; i < g.n; i += 1) { const dx = g.ax + g.bx * X[i] - spot[0], dy = g.ay + g.by * Y[i] - spot[1], far = dx * dx + dy * dy; if (far < least && g.shown(i)) { least = far; best = i; } }
    return best < 0 ? [] : stack(best);
  };
  const tell = (found) => {
    if (!found.length || !g) { tip.style.display = "none"; return; }
    const labels = model.get("labels"), notes = model.get("notes");
    tip.replaceChildren();
    for (const i of found.slice(0, 6)) tip.append(element("b", "", labels[i]), element("div", "", found.length > 3 ? "" : notes[i] || ""));
    if (found.length > 6) tip.append(`and ${found.length - 6} more here`);
    const [x, y] = g.at(found[0]);
    placeTip(tip, canvas, x - g.radius - 2, y - g.radius, 2 * g.radius + 4, 2 * g.radius);
  };
  const hover = (found) => {
    const one = found.slice(0, 1);  // linked views hear it; it is not sent to the kernel
    if (String(model.get("hovered")) !== String(one)) { model.set("hovered", one); }
    tell(found);
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
    const from = hand.cursor, [fx, fy] = g.at(from);
    let best = from, least = Infinity;
    for (let i = 0; i < g.n; i += 1) {
      if (!g.shown(i)) continue;
      const [px, py] = g.at(i), x = px - fx, y = py - fy, along = x * dx + y * dy, cost = along > SAME ? along + 2 * Math.abs(x * dy - y * dx) : Infinity;
      if (cost < least) { least = cost; best = i; }
    }
    return best;
  };
  const first = () => { for (let i = 0; i < g.n; i += 1) if (g.shown(i)) return i; return null; };
  const listen = {
    pointerdown: (event) => {
      if (!g) return;
      canvas.setPointerCapture?.(event.pointerId);
      if (nav.down(event)) { pressed = null; hand.lasso = []; hover([]); paint(); } else pressed = where(event);
    },
    pointermove: (event) => {
      if (!g || nav.move(event)) return;
      const spot = where(event);
      if (!pressed) { if (event.pointerType !== "touch") hover(near(spot)); return; }
      if (!hand.lasso.length && Math.hypot(spot[0] - pressed[0], spot[1] - pressed[1]) > 5) hand.lasso = [pressed];
      if (hand.lasso.length) { hand.lasso.push(spot); tell([]); paint(); }
    },
    pointerup: (event) => {
      const held = nav.up(event), lasso = hand.lasso, began = pressed;
      pressed = null; hand.lasso = [];
      if (!g || held || !began) return;
      hand.cursor = null;
      if (lasso.length) {
        const found = [];
        for (let i = 0; i < g.n; i += 1) if (g.shown(i) && within_line(g.at(i), lasso)) found.push(i);
        model.set("selected", found); model.set("seen", g.picture); model.save_changes();
        paint(); return;
      }
      const found = near(where(event));
      if (found.length) choose(found); else clear(["selected"]);
    },
    pointercancel: (event) => { nav.up(event); pressed = null; hand.lasso = []; paint(); },
    pointerleave: () => hover([]),
    dblclick: () => nav.reset(),
    blur: () => { hand.cursor = null; redraw(); },
    keydown: (event) => {
      if (!g || first() === null) return;
      const step = event.shiftKey ? null : { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[event.key], started = hand.cursor !== null && g.shown(hand.cursor);
      if (step) {
        hand.cursor = started ? toward(step) : first();
        const [x, y] = g.at(hand.cursor);
        nav.reveal(x - 20, y - 20, 40, 40);
      } else if (nav.key(event)) { /* done */ }
      else if (event.key === "Enter" || event.key === " ") { if (started) choose(stack(hand.cursor)); }
      else if (event.key === "Escape") { hand.cursor = null; clear(["chosen", "selected"]); }
      else return;
      if (step) { windowed(g, hand.view); tell(stack(hand.cursor)); }
      paint();
      event.preventDefault(); event.stopPropagation();
    },
  };
  for (const [name, call] of Object.entries(listen)) canvas.addEventListener(name, call);

  zoomTools(tools, nav, hand, "Drag to move instead of drawing a line around points (or hold Shift and drag)");
  exportTools(tools, {
    title: () => model.get("title"), size: () => [g.width, g.height],
    paint: (ctx) => { const kept = { at: g.at, shown: g.shown }; drawAll(ctx, g, model, { ...hand, lasso: [], cursor: null, sheet: null, styles: null }, LIGHT, 2); Object.assign(g, kept); },
    rows: () => rowsOf(model, hand.cloud, g.shown),
  });
  const another = () => { hand.cloud = cloudOf(model.get("points")); hand.cursor = null; hand.lasso = []; hand.view = WHOLE; pressed = null; redraw(); };
  const names = TRAITS.filter((name) => name !== "points" && name !== "hovered").map((name) => "change:" + name).join(" ");
  model.on(names, redraw); model.on("change:points", another); model.on("change:hovered", paint);
  redraw();
  return () => { model.off(names, redraw); model.off("change:points", another); model.off("change:hovered", paint); view.end(); nav.end(); };
}

export { show };
export default { render };
