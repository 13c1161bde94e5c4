"""The page's behaviour: draw the charts in the page's colours, sort, filter, copy, print."""

from __future__ import annotations

JS = r"""
(() => {
"use strict";
const root = document.documentElement;
const all = (selector, from = document) => [...from.querySelectorAll(selector)];
const stored = id => JSON.parse(document.getElementById(id).textContent);

// Charts: colours are named in the data as CSS variables, hover texts by trial number.
const figures = stored("charts"), hover = stored("hover");
const config = {displaylogo: false, responsive: true, showTips: false,
  modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]]};
const isColor = key => /color/i.test(key);
const resolved = (value, style, key = "") => {
  if (typeof value === "string") {
    return isColor(key) && value.startsWith("var(")
      ? style.getPropertyValue(value.slice(4, -1)).trim() : value;
  }
  if (Array.isArray(value)) return value.map(item => resolved(item, style, key));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, resolved(item, style, name)]));
};
const named = trace => trace.customdata
  ? {...trace, hovertext: trace.customdata.map(number => number === null ? "" : hover[number])}
  : trace;
const draw = figure => {
  const style = getComputedStyle(root), place = document.getElementById(figure.id);
  const data = resolved(figure.data, style).map(named);
  const first = !place.data;
  Plotly.react(place, data, resolved(figure.layout, style),
    {...config, displayModeBar: figure.tools});
  if (first) place.on("plotly_click", event => show(event.points[0].customdata));
};
const queue = [...figures];
const drawNext = () => {
  if (!queue.length) return;
  draw(queue.shift());
  setTimeout(drawNext);
};
const drawAll = () => { queue.length = 0; figures.forEach(draw); };

// A click on a mark shows its trial in the table.
const show = number => {
  const row = document.getElementById("trial-" + number);
  if (!row) return;
  all("tr.shown").forEach(other => other.classList.remove("shown"));
  row.hidden = false;
  row.classList.add("shown");
  row.scrollIntoView({block: "center"});
};

// The table sorts by its cells' data-v, numbers as numbers; empty cells stay last.
const keyOf = (row, index) => {
  const text = row.cells[index].dataset.v;
  if (text === undefined) return null;
  const number = Number(text);
  return text !== "" && !Number.isNaN(number) ? number : text;
};
const compared = (left, right) => {
  if (typeof left === "number" && typeof right === "number") return left - right;
  if (typeof left !== typeof right) return typeof left === "number" ? -1 : 1;
  return left.localeCompare(right);
};
const sortBy = head => {
  const down = head.getAttribute("aria-sort") === "ascending";
  const body = head.closest("table").tBodies[0], index = head.cellIndex;
  all("th", head.parentElement).forEach(other => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = [...body.rows].map(row => [keyOf(row, index), row]);
  rows.sort(([left], [right]) => {
    if (left === null || right === null) return (left === null) - (right === null);
    return down ? compared(right, left) : compared(left, right);
  });
  body.append(...rows.map(([, row]) => row));
};
all("th > button").forEach(button =>
  button.addEventListener("click", () => sortBy(button.parentElement)));

const buttons = all("[data-show]");
buttons.forEach(button => button.addEventListener("click", () => {
  buttons.forEach(other => other.setAttribute("aria-pressed", String(other === button)));
  const state = button.dataset.show;
  all("#trials-table tbody tr").forEach(row => {
    row.hidden = state !== "all" && row.dataset.state !== state;
  });
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

if (window.Plotly) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  const sized = () => figures.forEach(({id}) => Plotly.Plots.resize(document.getElementById(id)));
  addEventListener("beforeprint", () => {
    root.classList.add("printing");
    drawAll();
    sized();
  });
  addEventListener("afterprint", () => {
    root.classList.remove("printing");
    drawAll();
    sized();
  });
  drawNext();
}
})();
"""
