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
