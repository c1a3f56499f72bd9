/* Tables, code and results that are wider than the page fade at the right edge until they are scrolled to their end,
   and names of the package in titles may break after a dot. */
(() => {
  const boxes = ".pst-scrollable-table-container, .bd-article pre, .cell_output > .output, .cell_output div[style*='overflow-x']";
  const mark = (box) => box.classList.toggle("more", box.scrollLeft + box.clientWidth < box.scrollWidth - 2);
  const look = () => {
    for (const box of document.querySelectorAll(boxes)) {
      const table = box.querySelector("table");
      if (table) {
        table.classList.remove("wide");
        table.classList.toggle("wide", box.scrollWidth > box.clientWidth + 2);
      }
      mark(box);
    }
  };
  addEventListener("DOMContentLoaded", () => {
    for (const box of document.querySelectorAll(boxes)) box.addEventListener("scroll", () => mark(box), { passive: true });
    for (const title of document.querySelectorAll(".bd-article h1, .prev-next-title")) {
      const name = title.firstChild;
      if (!name || name.nodeType !== Node.TEXT_NODE || !name.data.trim().startsWith("rs.")) continue;
      name.replaceWith(...name.data.split(/(?<=[._])/).flatMap((part) => [part, document.createElement("wbr")]));
    }
    look();
  });
  addEventListener("load", look);
  addEventListener("resize", look);
})();
