// A drop-down with groups, in which choices that do not apply are gray and say why.
function render({ model, el }) {
  const label = document.createElement("label"), select = document.createElement("select"), why = document.createElement("span");
  el.classList.add("rs-choice", "widget-dropdown", "jupyter-widgets", "widget-inline-hbox");
  el.setAttribute("data-lm-suppress-shortcuts", "true");
  label.className = "widget-label"; why.className = "rs-why"; why.setAttribute("role", "status");
  label.append(select); el.append(label, why);
  select.addEventListener("change", () => { model.set("value", select.value); model.save_changes(); });
  const draw = () => {
    const reasons = model.get("reasons"), groups = model.get("groups");
    label.replaceChildren();
    const text = document.createElement("span");
    text.textContent = model.get("description"); label.append(text, select);
    select.replaceChildren();
    for (const [heading, values] of groups) {
      let home = select;
      if (heading) { home = document.createElement("optgroup"); home.label = heading; select.append(home); }
      for (const value of values) {
        const option = document.createElement("option"), reason = reasons[value];
        option.value = value; option.textContent = reason ? `${value} (${reason})` : value; option.disabled = Boolean(reason) && value !== model.get("value"); option.title = reason || "";
        home.append(option);
      }
    }
    select.value = model.get("value"); select.disabled = model.get("disabled");
    why.textContent = reasons[model.get("value")] || "";
  };
  const names = ["value", "groups", "reasons", "disabled", "description"].map((name) => "change:" + name).join(" ");
  model.on(names, draw);
  draw();
  return () => model.off(names, draw);
}
export default { render };
