// What every view needs; Python puts it in front of each of them.

// Names of layers differ at their end and begin alike: what is cut is the middle.
function ellipsis(ctx, text, width) {
  if (ctx.measureText(text).width <= width) return text;
  for (let keep = text.length - 1; keep > 1; keep -= 1) {
    const short = text.slice(0, Math.floor(keep / 3)) + "…" + text.slice(text.length - Math.ceil((2 * keep) / 3));
    if (ctx.measureText(short).width <= width) return short;
  }
  return "…";
}

function inkOf(el) {
  const style = getComputedStyle(el);
  return style.getPropertyValue("--jp-ui-font-color1").trim() || style.color || "#222222";
}

// paint() draws in the next frame, however often it is asked for; `changed` is called when the room or the theme is another. end() ends that.
function painter(el, canvas, draw, changed) {
  let waiting = false, room = null;
  const size = new ResizeObserver(changed), theme = new MutationObserver(changed);
  theme.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "class"] });
  const watch = () => {  // the place that the view stands in is known when it stands there
    if (el.parentElement === room) return;
    size.disconnect(); room = el.parentElement;
    if (room) size.observe(room);
  };
  const paint = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; watch(); draw(); canvas.dataset.drawn = String(Number(canvas.dataset.drawn || 0) + 1); });
  };
  return { paint, end: () => { size.disconnect(); theme.disconnect(); } };
}

// A state without a widget, with what views use of a widget's model. `changed(names)` hears what a person chooses.
function plainModel(state, changed) {
  const held = { chosen: [], selected: [], presses: 0, picture: 1, seen: 0, ...state }, listeners = [];
  let fresh = new Set();
  const model = {
    get: (name) => held[name],
    set: (name, value) => {
      held[name] = value; fresh.add(name);
      for (const [names, call] of [...listeners]) if (names.includes("change:" + name)) call();
    },
    save_changes: () => { const names = [...fresh]; fresh = new Set(); if (names.length) changed?.(names, model); },
    on: (names, call) => listeners.push([names.split(" "), call]),
    off: (names, call) => { const at = listeners.findIndex(([known, other]) => other === call && known.join(" ") === names); if (at >= 0) listeners.splice(at, 1); },
  };
  return model;
}

// Draw a state in an element, with no widget and no kernel: -> its model, whose `set` draws again, and `end`.
function show(el, state, changed) {
  const model = plainModel(state, changed);
  return { model, end: render({ model, el }) };
}
