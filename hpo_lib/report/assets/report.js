/* The report's own behaviour: draws its charts as they come into view, and the table of trials. */
(() => {
"use strict";
const root = document.documentElement;
const all = (selector, from = document) => [...from.querySelectorAll(selector)];
const data = hpoCharts.columns(JSON.parse(document.getElementById("data").textContent));
const {el, num, cut, time, cued} = hpoCharts.tools;
const ROWS = 100;

// Charts: each is drawn when it first comes near the window, and again when the page's look or
// the trials that count have changed.
const boxes = all("[data-chart]"), drawn = new Set();
let keep = null, printing = false;
const options = box => ({...JSON.parse(box.dataset.options ?? "{}"), keep, onTrial: show,
  dark: !printing && matchMedia("(prefers-color-scheme: dark)").matches, controls: !printing,
  onKeep: found => { keep = found; redraw(); }});
const draw = box => {
  drawn.add(box);
  hpoCharts.draw(box, box.dataset.chart, data, options(box));
};
const redraw = () => drawn.forEach(draw);
const watch = new IntersectionObserver(entries => entries.filter(entry => entry.isIntersecting)
  .forEach(({target}) => {
    watch.unobserve(target);
    draw(target);
  }), {rootMargin: "300px"});
boxes.forEach(box => watch.observe(box));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

// The table of trials: columns of the document, a page at a time.
const place = document.getElementById("trials-table");
const {trials} = data.doc;
const texts = trials.told.texts, toldOf = row => texts[trials.told.by_row[row]] ?? "";
const objectives = data.objectives.map(one => one.metric);
const value = (name, column, more = {}) => ({name, of: row => column[row], number: true, ...more});
const parameter = (one, at) => ({name: one.name, of: row => trials.params[at][row],
  show: row => trials.params[at][row] === null ? "–" : data.label(at, trials.params[at][row]),
  number: one.scale !== "choice", first: at === 0});
const columns = [
  value("trial", trials.number, {leads: true}),
  {name: "state", of: row => data.state(row), state: true},
  ...objectives.map(at => value(data.metrics[at], trials.metrics[at], {goal: true})),
  ...(data.doc.run.constrained ? [{name: "feasible", of: row => data.state(row) === "complete"
    ? (data.infeasible.has(row) ? "no" : "yes") : null}] : []),
  ...data.parameters.map(parameter),
  ...data.metrics.map((name, at) => value(name, trials.metrics[at]))
    .filter((_, at) => !objectives.includes(at)).map((one, at) => ({...one, first: at === 0})),
  {...value("duration", trials.duration_s, {first: true}),
    show: row => time(trials.duration_s[row])},
  ...(trials.wave.some(wave => wave !== null) ? [value("wave", trials.wave)] : []),
];
let order = {column: columns[0], down: false}, state = "all", page = 0, shown = null;
const compared = (left, right) => typeof left === "number" && typeof right === "number"
  ? left - right : String(left).localeCompare(String(right));
const listed = () => {
  const rows = data.every.filter(row => state === "all" || data.state(row) === state);
  const {of} = order.column, sign = order.down ? -1 : 1;
  return rows.map(row => [of(row), row]).sort(([a, left], [b, right]) =>
    a === null || b === null ? (a === null) - (b === null) || left - right
      : sign * compared(a, b) || left - right).map(([, row]) => row);
};
const cell = (column, row) => {
  const found = column.of(row), text = column.show?.(row) ?? num(found, 5);
  const told = column.state ? toldOf(row) : "";
  const class_ = [column.number && "num", column.goal && "goal", column.first && "first",
    found === null && "none"].filter(Boolean).join(" ");
  if (column.state) {
    const badge = el("span", {class: `state ${found}`}, found);
    if (!told) return el("td", {}, badge);
    return el("td", {}, el("details", {}, el("summary", {title: told}, badge), el("p", {}, told)));
  }
  const leads = column.leads && data.leading.has(row) ? "◆ " : "";
  return el("td", {class: class_, ...(text.length > 24 ? {title: text} : {})},
    el("bdi", {}, leads + cut(text, 200)));
};
const head = column => {
  const sorted = column === order.column ? (order.down ? "descending" : "ascending") : null;
  const sort = () => {
    order = {column, down: order.column === column && !order.down};
    page = 0;
    fill(all("th button", place).findIndex(one => one === document.activeElement));
  };
  return el("th", {scope: "col", "aria-sort": sorted, class: column.first ? "first" : null},
    el("button", {type: "button", title: column.name, onclick: sort}, cut(column.name, 60)));
};
const fill = focused => {
  const rows = listed(), pages = Math.max(Math.ceil(rows.length / ROWS), 1);
  page = Math.min(page, pages - 1);
  const from = page * ROWS, part = printing ? rows.slice(0, 1000) : rows.slice(from, from + ROWS);
  const body = part.map(row => el("tr", {id: `trial-${data.number[row]}`,
    "data-state": data.state(row),
    class: [data.leading.has(row) && "best", row === shown && "shown"].filter(Boolean).join(" ")
      || null},
  ...columns.map(column => cell(column, row))));
  const turn = (by, text, off) => el("button", {type: "button", disabled: off, onclick: () => {
    page += by;
    fill();
  }}, text);
  place.replaceChildren(
    cued(el("div",
      {class: "scroll tall", tabindex: "0", role: "region", "aria-label": "every trial"},
      el("table", {}, el("thead", {}, el("tr", {}, ...columns.map(head))), el("tbody", {},
        ...body)))),
    ...(pages > 1 && !printing
      ? [el("div", {class: "filters pages no-print"}, turn(-1, "previous", page === 0),
      el("span", {role: "status"},
        `${num(from + 1)} to ${num(from + part.length)} of ${num(rows.length)}`),
      turn(1, "next", page === pages - 1))] : []));
  if (focused >= 0) all("th button", place)[focused]?.focus();
};
const buttons = all("[data-show]");
buttons.forEach(button => button.addEventListener("click", () => {
  buttons.forEach(other => other.setAttribute("aria-pressed", String(other === button)));
  state = button.dataset.show;
  page = 0;
  fill();
}));

// A click on a mark, or a link to a trial, shows it in the table.
function show(number) {
  if (!place) return;
  shown = data.number.indexOf(number);
  if (state !== "all") buttons[0]?.click();
  page = Math.max(Math.floor(listed().indexOf(shown) / ROWS), 0);
  fill();
  document.getElementById(`trial-${number}`)?.scrollIntoView({block: "center"});
}
all('a[href^="#trial-"]').forEach(link => link.addEventListener("click", event => {
  event.preventDefault();
  show(Number(link.hash.slice(7)));
}));
if (place) fill();
all(".scroll:not(#trials-table *)").forEach(cued);

// Other tables sort by their cells' data-v, numbers as numbers; empty cells stay last.
const keyOf = (row, index) => {
  const text = row.cells[index].dataset.v;
  if (text === undefined) return null;
  const number = Number(text);
  return text !== "" && !Number.isNaN(number) ? number : text;
};
all("th[data-sorts] > button").forEach(button => button.addEventListener("click", () => {
  const th = button.parentElement, down = th.getAttribute("aria-sort") === "ascending";
  const body = th.closest("table").tBodies[0];
  all("th", th.parentElement).forEach(other => other.removeAttribute("aria-sort"));
  th.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = [...body.rows].map(row => [keyOf(row, th.cellIndex), row]);
  rows.sort(([a], [b]) => a === null || b === null ? (a === null) - (b === null)
    : (down ? -1 : 1) * compared(a, b));
  body.append(...rows.map(([, row]) => row));
}));

all("[data-copy]").forEach(button => button.addEventListener("click", async () => {
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "copied";
  } catch {
    getSelection().selectAllChildren(source);
    button.textContent = document.execCommand("copy") ? "copied" : "press Ctrl+C";
  }
  setTimeout(() => { button.textContent = "copy"; }, 2000);
}));

const print = now => {
  printing = now;
  root.classList.toggle("printing", now);
  boxes.forEach(draw);
  if (place) fill();
};
addEventListener("beforeprint", () => print(true));
addEventListener("afterprint", () => print(false));
})();
