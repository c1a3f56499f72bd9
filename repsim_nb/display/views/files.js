// Buttons for the files of a picture that is an image: PNG as it is shown, SVG as the kernel draws it.
function save(content, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content); link.download = name;
  document.body.append(link); link.click(); link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function render({ model, el }) {
  const button = (text, title, press) => {
    const made = document.createElement("button");
    made.type = "button"; made.className = "rs-tool"; made.textContent = text; made.title = title;
    made.addEventListener("click", press);
    el.append(made);
    return made;
  };
  el.classList.add("rs-copy");
  button("PNG", "Download this picture as PNG", async () => {
    const image = el.closest(".rs-explorer")?.querySelector("img.rs-picture, .rs-picture img");
    if (image) save(await (await fetch(image.src)).blob(), "figure.png");
  });
  const svg = button("SVG", "Download this picture as SVG", () => { svg.disabled = true; model.send({ ask: "svg" }); });
  const answer = (message) => {
    svg.disabled = false;
    if (message.svg) save(new Blob([message.svg], { type: "image/svg+xml" }), "figure.svg");
    else { svg.textContent = "no SVG"; svg.title = message.error || ""; }
  };
  model.on("msg:custom", answer);
  return () => model.off("msg:custom", answer);
}
export default { render };
