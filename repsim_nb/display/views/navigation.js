
// -- zoom and pan

const WHOLE = { k: 1, x: 0, y: 0 };  // a window onto a picture that is k times as large: its corner is at (x, y) of the large one
const QUIET = 400;  // a page that is being scrolled goes on: milliseconds

function within({ k, x, y }, { w, h }) {
  return { k, x: clamp(x, 0, (k - 1) * w), y: clamp(y, 0, (k - 1) * h) };
}

// The same spot of the picture stays under (px, py), measured from the corner of the window.
function zoomed(view, factor, [px, py], size, most) {
  const k = clamp(view.k * factor, 1, Math.max(1, most));
  return within({ k, x: ((view.x + px) * k) / view.k - px, y: ((view.y + py) * k) / view.k - py }, size);
}

// Wheel, pinch, keys, and dragging with Shift, the middle button or the hand change `hand.view`.
// frame() is the window {left, top, w, h} on the canvas, most() the largest zoom; paint() draws.
function navigation(canvas, hand, frame, most, paint) {
  const fingers = new Map();
  let grip = null, elsewhere = -Infinity, turned = -Infinity;
  hand.view = WHOLE; hand.moving = false;
  const set = (view) => { hand.view = view; canvas.style.touchAction = view.k > 1 ? "none" : "pan-y"; paint(); };
  const zoom = (factor, spot) => { const f = frame(); if (f) set(zoomed(hand.view, factor, spot ? [spot[0] - f.left, spot[1] - f.top] : [f.w / 2, f.h / 2], f, most())); };
  const pan = (dx, dy) => { const f = frame(); if (f) set(within({ ...hand.view, x: hand.view.x + dx, y: hand.view.y + dy }, f)); };
  const reset = () => set(WHOLE);
  const at = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  const middle = () => { const [[a, b], [c, d]] = [...fingers.values()]; return [(a + c) / 2, (b + d) / 2, Math.hypot(a - c, b - d)]; };
  const outside = (event) => { if (event.target !== canvas) elsewhere = event.timeStamp; };
  const wheel = (event) => {
    const factor = Math.exp(-event.deltaY * (event.deltaMode ? 16 : 1) * (event.ctrlKey ? 0.01 : 0.002)), { k } = hand.view;
    if (!frame() || most() <= 1) return;
    if (!event.ctrlKey && event.timeStamp - elsewhere < QUIET) { elsewhere = event.timeStamp; return; }
    const stuck = factor > 1 ? k >= most() : k <= 1;
    if (stuck && event.timeStamp - turned > QUIET && !event.ctrlKey) { elsewhere = event.timeStamp; return; }  // the page scrolls
    event.preventDefault();
    turned = event.timeStamp;
    if (!stuck) zoom(factor, at(event));
  };
  // -> whether the pointer moves the picture, and nothing else
  const down = (event) => {
    fingers.set(event.pointerId, at(event));
    if (fingers.size === 2) { grip = middle(); return true; }
    if (hand.view.k > 1 && (event.button === 1 || (event.button === 0 && (event.shiftKey || hand.pans)))) { grip = at(event); hand.moving = true; event.preventDefault(); return true; }
    return event.button !== 0;
  };
  const move = (event) => {
    if (fingers.has(event.pointerId)) fingers.set(event.pointerId, at(event));
    if (!grip) return false;
    if (fingers.size === 2) {
      const now = middle();
      if (grip[2]) zoom(now[2] / grip[2], now);
      pan(grip[0] - now[0], grip[1] - now[1]);
      grip = now;
    } else { const now = at(event); pan(grip[0] - now[0], grip[1] - now[1]); grip = now; }
    return true;
  };
  const up = (event) => {
    const held = grip !== null;
    fingers.delete(event.pointerId);
    if (!fingers.size) { grip = null; if (hand.moving) { hand.moving = false; paint(); } }
    return held;
  };
  const key = (event) => {
    const step = { ArrowUp: [0, -60], ArrowDown: [0, 60], ArrowLeft: [-60, 0], ArrowRight: [60, 0] }[event.key];
    if (event.key === "+" || event.key === "=") zoom(1.5);
    else if (event.key === "-" || event.key === "_") zoom(1 / 1.5);
    else if (event.key === "0" || event.key === "Home") reset();
    else if (step && event.shiftKey) pan(...step);
    else return false;
    return true;
  };
  // Bring a box of the window into it.
  const reveal = (x, y, w, h) => {
    const f = frame(), dx = Math.min(0, x - f.left) || Math.max(0, x + w - f.left - f.w), dy = Math.min(0, y - f.top) || Math.max(0, y + h - f.top - f.h);
    if (dx || dy) hand.view = within({ ...hand.view, x: hand.view.x + dx, y: hand.view.y + dy }, f);
  };
  canvas.style.touchAction = "pan-y";
  canvas.addEventListener("wheel", wheel, { passive: false });
  window.addEventListener("wheel", outside, { capture: true, passive: true });
  return { zoom, pan, reset, down, move, up, key, reveal, end: () => window.removeEventListener("wheel", outside, { capture: true }) };
}

function zoomTools(tools, nav, hand, hint) {
  tool(tools, "+", "Zoom in (wheel, pinch, or the key +)", () => nav.zoom(1.5));
  tool(tools, "−", "Zoom out (wheel, pinch, or the key −)", () => nav.zoom(1 / 1.5));
  tool(tools, "⟲", "Show everything (the key 0)", () => nav.reset());
  const hold = tool(tools, "Move", hint, () => { hand.pans = !hand.pans; hold.setAttribute("aria-pressed", String(hand.pans)); });
  tools.append(element("span", "rs-gap"));
}
