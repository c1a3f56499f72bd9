// Live pictures of a page: the views draw them from the JSON next to their image, which stays if anything is wrong.
const ORDERS = [["given", "as given"], ["bright", "brightest first"], ["name", "by name"], ["cell", "by the chosen cell"]];

function make(kind, name, text = "") {
  const made = document.createElement(kind);
  made.className = name;
  made.textContent = text;  // names are text, never HTML
  return made;
}

function selection(place, label, options, changed) {
  const row = make("label", "", label), select = make("select", "");
  options.forEach(([value, text]) => { const option = make("option", "", text); option.value = value; select.append(option); });
  select.addEventListener("change", changed);
  row.append(select); place.append(row);
  return select;
}

const SHARED = { matrix: ["hovered"], scatter: ["hovered", "chosen", "selected"], lines: [], gallery: ["hovered", "chosen"] };  // with pictures of the same items
const same = (a, b) => a.length === b.length && a.every((one, k) => one === b[k]);
const numbers = (count) => Array.from({ length: count }, (_, k) => k);
const mean = (values) => { const known = values.filter((value) => value !== null); return known.length ? known.reduce((a, b) => a + b, 0) / known.length : null; };

// Numbers sorted by what is known of them: large first for sign 1, unknown last, equal ones as they were.
function sorted(known, sign) {
  return numbers(known.length).sort((a, b) => (known[a] === null) - (known[b] === null) || sign * ((known[b] ?? 0) - (known[a] ?? 0)) || a - b);
}

// The rows and columns of a table in another order; a table of items by the same items keeps its diagonal.
function orderOf({ state, bright }, how, cell) {
  const { values, row_labels: rows, column_labels: columns } = state, square = same(rows, columns), column = (j) => values.map((row) => row[j]);
  const by = { given: () => [numbers(rows.length), numbers(columns.length)] };
  by.bright = () => [sorted(values.map(mean), bright), sorted(columns.map((_, j) => mean(column(j))), bright)];
  by.name = () => [rows, columns].map((labels) => numbers(labels.length).sort((a, b) => labels[a].localeCompare(labels[b], "en", { numeric: true }) || a - b));
  by.cell = () => (cell ? [sorted(column(cell[1]), bright), sorted(values[cell[0]], bright)] : by.given());
  const [down, across] = by[how]();
  return square ? (how === "cell" ? [across, across] : [down, down]) : [down, across];
}

function permuted(state, [down, across], given) {
  const { values, texts, notes, row_labels: rows, column_labels: columns } = state, moved = {};
  down.forEach((i, r) => across.forEach((j, c) => { if (`${i},${j}` in notes) moved[`${r},${c}`] = notes[`${i},${j}`]; }));
  return {
    ...state, notes: moved, row_labels: down.map((i) => rows[i]), column_labels: across.map((j) => columns[j]),
    values: down.map((i) => across.map((j) => values[i][j])), texts: texts.length ? down.map((i) => across.map((j) => texts[i][j])) : texts,
    row_breaks: given ? state.row_breaks : [], column_breaks: given ? state.column_breaks : [],
  };
}

function decimals({ low, high }) {
  return high > low ? Math.max(2, 1 + Math.ceil(-Math.log10(high - low))) : 2;
}

function liven(root, views) {
  const { label, chosen: first, choices } = JSON.parse(root.querySelector("script").textContent);
  const view = make("div", "rs-live-view"), controls = make("div", "rs-live-controls"), grid = make("div", "rs-live-panels"), detail = make("div", "rs-live-detail");
  detail.setAttribute("role", "status");
  let cell = null;  // the chosen cell: its place, and the labels that other pictures may have, too
  const choice = choices.length > 1 ? selection(controls, label, choices.map(([name], k) => [k, name]), () => draw()) : null;
  const several = choices.reduce((sum, [, panels]) => sum + panels.length, 0) > 1, tables = choices.some(([, panels]) => panels.some(({ kind, state }) => kind === "matrix" && state.values.length > 1));
  const order = tables ? selection(controls, "order", ORDERS, () => draw()) : null;
  if (choice) choice.value = first;
  const placed = (state) => {
    if (!cell) return null;
    const { at: [i, j], labels: [row, column] } = cell, { row_labels: rows, column_labels: columns } = state;
    const found = rows[i] === row && columns[j] === column ? [i, j] : [rows.indexOf(row), columns.indexOf(column)];
    return Math.min(...found) < 0 ? null : found;
  };
  const places = [];  // of each panel {kind: {place, shown}}
  const at = (k) => {
    if (!places[k]) { places[k] = { box: make("div", ""), of: {} }; grid.append(places[k].box); }
    return places[k];
  };
  const put = (k, panel) => {
    const { box, of } = at(k), matrix = panel.kind === "matrix", how = order?.value || "given", here = matrix ? placed(panel.state) : null;
    const turn = matrix ? orderOf(panel, how, here) : null, state = matrix ? { ...permuted(panel.state, turn, how === "given"), snug: true } : { ...panel.state };
    if (matrix) state.chosen = here ? [turn[0].indexOf(here[0]), turn[1].indexOf(here[1])] : [];
    for (const [kind, { place }] of Object.entries(of)) place.hidden = kind !== panel.kind;
    places[k].current = panel.kind;
    let shown = of[panel.kind];
    const items = panel.kind === "gallery" ? places[0].of.scatter?.items : JSON.stringify(matrix ? [state.row_labels, state.column_labels] : state.labels);
    box.style.gridColumn = panel.kind === "gallery" ? "1 / -1" : "";
    if (shown) {
      Object.assign(shown, { panel, turn, items });
      for (const [name, value] of Object.entries(state)) if (JSON.stringify(value) !== JSON.stringify(shown.model.get(name))) shown.model.set(name, value);
      if (panel.kind === "gallery") shown.model.set("picture", shown.model.get("picture") + 1);  // it is filled again
      return;
    }
    const place = make("div", ""), inner = make("div", "");
    place.append(inner); box.append(place);
    shown = of[panel.kind] = { place, panel, turn, items };
    shown.model = views[panel.kind](inner, state, (names) => { if (names.includes("chosen") && shown.turn) choose(shown); }).model;
    for (const name of SHARED[panel.kind]) shown.model.on("change:" + name, () => share(shown, name));
  };
  const share = (from, name) => {  // pictures of the same items mark the same ones
    const value = from.model.get(name);
    for (const { of, current } of places) {
      const other = of[current];
      if (other && other !== from && other.items === from.items && String(other.model.get(name)) !== String(value)) other.model.set(name, value);
    }
  };
  const choose = ({ model, panel, turn }) => {
    const [r, c] = model.get("chosen");
    if (r === undefined) return;
    const [i, j] = [turn[0][r], turn[1][c]], { row_labels: rows, column_labels: columns } = panel.state;
    cell = { at: [i, j], labels: [rows[i], columns[j]] };
    draw();
  };
  const tell = () => {
    detail.replaceChildren();
    if (!cell) { detail.textContent = "Click a cell to list its values."; return; }
    const table = make("table", "");
    for (const [name, panels] of choices) for (const { kind, state } of panels) {
      const here = kind === "matrix" ? placed(state) : null;
      if (!here) continue;
      const value = state.values[here[0]][here[1]], row = make("tr", "");
      row.append(make("td", "", state.title || name), make("td", "", value === null ? `undefined: ${state.notes[here.join(",")] || ""}` : value.toFixed(decimals(state) + 2)));
      table.append(row);
    }
    detail.append(make("b", "", cell.labels.join(" × ")), table);
  };
  const draw = () => {
    const panels = choices[choice ? Number(choice.value) : first][1];
    panels.forEach((panel, k) => put(k, panel));
    places.forEach(({ box }, k) => { box.hidden = k >= panels.length; });
    tell();
  };
  if (choice || order) view.append(controls);
  view.append(grid);
  if (tables && several) view.append(detail);
  root.append(view);
  root.classList.add("rs-drawn");
  try { draw(); } catch (error) { root.classList.remove("rs-drawn"); view.remove(); throw error; }
  return () => { for (const { of } of places) for (const { model } of Object.values(of)) model.set("title", model.get("title")); };
}

const repaint = [];
for (const root of document.querySelectorAll(".rs-live")) {
  try { repaint.push(liven(root, globalThis.repsimViews)); } catch (error) { console.error(error); }
}
const again = () => repaint.forEach((call) => call());  // the colors of the page have changed
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
new MutationObserver(again).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme", "class"] });
