// A button that copies a text and says that it did; it needs no kernel.
async function copied(text) {
  try { await navigator.clipboard.writeText(text); return true; } catch { /* not allowed here: the old way */ }
  const area = document.createElement("textarea");
  area.value = text; area.style.position = "fixed"; area.style.opacity = "0";
  document.body.append(area); area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

function render({ model, el }) {
  const button = document.createElement("button");
  el.classList.add("rs-copy");
  button.type = "button"; button.className = "rs-tool"; button.textContent = model.get("description"); button.title = model.get("tooltip");
  button.addEventListener("click", async () => {
    button.textContent = (await copied(model.get("text"))) ? "✓ copied" : "not allowed here";
    setTimeout(() => { button.textContent = model.get("description"); }, 1500);
  });
  el.append(button);
}
export default { render };
