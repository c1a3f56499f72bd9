
// -- a gallery

const DEFAULTS = { samples: [], labels: [], values: [], notes: [], texts: [], sheet: "", size: 0, title: "", hovered: [] };

// Samples in a list that scrolls: thumbnails or sentences. A click chooses one; pointing at one marks it in linked views.
function render({ model, el }) {
  el.classList.add("rs-gallery");
  const head = document.createElement("div"), list = document.createElement("div");
  head.className = "rs-gallery-head"; list.className = "rs-gallery-list"; list.setAttribute("role", "listbox");
  el.setAttribute("data-lm-suppress-shortcuts", "true");
  el.append(head, list);
  const hover = (found) => { if (String(model.get("hovered")) !== String(found)) model.set("hovered", found); };
  const choose = (i) => {
    model.set("chosen", [i]); model.set("seen", model.get("picture")); model.set("presses", model.get("presses") + 1); model.save_changes();
  };
  const mark = () => {
    const chosen = new Set(model.get("chosen")), hovered = new Set(model.get("hovered"));
    for (const item of list.children) {
      const i = Number(item.dataset.sample);
      item.classList.toggle("rs-hovered", hovered.has(i));
      item.setAttribute("aria-selected", String(chosen.has(i)));
    }
  };
  const follow = () => {  // only the list scrolls, and never the page
    mark();
    const item = list.querySelector("[aria-selected=true]");
    if (!item || (item.offsetTop >= list.scrollTop && item.offsetTop + item.offsetHeight <= list.scrollTop + list.clientHeight)) return;
    list.scrollTop = item.offsetTop - (list.clientHeight - item.offsetHeight) / 2;
  };
  const fill = () => {
    const size = model.get("size"), sheet = model.get("sheet"), texts = model.get("texts");
    head.textContent = model.get("title");
    list.classList.toggle("rs-gallery-texts", texts.length > 0);
    list.replaceChildren(...model.get("samples").map((i, k) => {
      const item = document.createElement("button"), name = document.createElement("b"), note = document.createElement("span");
      item.type = "button"; item.dataset.sample = i; item.setAttribute("role", "option"); item.title = model.get("notes")[k] || "";
      if (sheet) {
        const picture = document.createElement("i");
        picture.style.cssText = `width: ${size}px; height: ${size}px; background-position: 0 -${k * size}px`;
        picture.style.backgroundImage = `url(${sheet})`;
        item.append(picture);
      }
      name.textContent = model.get("labels")[k]; note.textContent = texts[k] ?? model.get("values")[k] ?? "";
      item.append(name, note);
      item.addEventListener("click", () => choose(i));
      item.addEventListener("pointerenter", () => hover([i])); item.addEventListener("pointerleave", () => hover([]));
      item.addEventListener("focus", () => hover([i])); item.addEventListener("blur", () => hover([]));
      return item;
    }));
    follow();
  };
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key], items = [...list.children];
    if (!step || !items.includes(document.activeElement)) return;
    items[Math.max(0, Math.min(items.length - 1, items.indexOf(document.activeElement) + step))].focus();
    event.preventDefault(); event.stopPropagation();
  });
  model.on("change:picture", fill); model.on("change:hovered", mark); model.on("change:chosen", follow);
  fill();
  return () => { model.off("change:picture", fill); model.off("change:hovered", mark); model.off("change:chosen", follow); };
}

export { show };
export default { render };
