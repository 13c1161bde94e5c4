/* A chart of a few lines, drawn as SVG, with the same as a table. */

import {el, number, scrolling, svg} from "./dom.js";

const WIDTH = 640, HEIGHT = 240, LEFT = 58, RIGHT = 12, TOP = 10, BOTTOM = 34, MOST = 400, FEW = 12;

const steps = (low, high, wanted, whole = false) => {
  const span = high - low || Math.abs(high) || 1, rough = span / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  let step = [1, 2, 5, 10].map(one => one * power).find(one => one >= rough * 0.7);
  if (whole) step = Math.max(1, Math.round(step));
  const first = Math.ceil(low / step), last = Math.floor(high / step);
  return Array.from({length: Math.max(0, last - first) + 1}, (_, at) =>
    Number(((first + at) * step).toPrecision(12)));
};
const thinned = points => {
  const every = Math.ceil(points.length / MOST);
  return every < 2 ? points : points.filter((_, at) => at % every === 0 || at === points.length - 1);
};

/* `lines` are {name, points: [[x, y], …], steps}; `target` is a value that is aimed at. */
export const drawLines = (lines, {x, y, target = null, whole = false, label}) => {
  const drawn = lines.map(one => ({...one, points: thinned(one.points.filter(([a, b]) =>
    Number.isFinite(a) && Number.isFinite(b)))})).filter(one => one.points.length);
  if (!drawn.length) return el("p", {class: "note"}, "There is nothing to draw yet.");
  const xs = drawn.flatMap(one => one.points.map(([a]) => a));
  const ys = [...drawn.flatMap(one => one.points.map(([, b]) => b)), ...target === null ? [] : [target]];
  const room = (low, high) => low === high ? [low - (Math.abs(low) || 1) * 0.05, high + (Math.abs(high) || 1) * 0.05]
    : [low - (high - low) * 0.04, high + (high - low) * 0.04];
  const [bottom, top] = room(Math.min(...ys), Math.max(...ys));
  const [first, last] = Math.min(...xs) === Math.max(...xs) ? room(xs[0], xs[0]) : [Math.min(...xs), Math.max(...xs)];
  const atX = value => LEFT + (value - first) / (last - first) * (WIDTH - LEFT - RIGHT);
  const atY = value => HEIGHT - BOTTOM - (value - bottom) / (top - bottom) * (HEIGHT - TOP - BOTTOM);
  const path = one => one.points.map(([a, b], at) => {
    if (!at) return `M${atX(a).toFixed(1)} ${atY(b).toFixed(1)}`;
    return one.steps ? `H${atX(a).toFixed(1)}V${atY(b).toFixed(1)}` : `L${atX(a).toFixed(1)} ${atY(b).toFixed(1)}`;
  }).join("");
  const picture = svg("svg", {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label},
    ...steps(bottom, top, 4).flatMap(value => [
      svg("line", {class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: atY(value), y2: atY(value)}),
      svg("text", {x: LEFT - 6, y: atY(value) + 4, "text-anchor": "end"}, number(value, 4))]),
    ...steps(first, last, 6, whole).map(value =>
      svg("text", {x: atX(value), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle"}, number(value, 4))),
    svg("text", {class: "axis", x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 3, "text-anchor": "middle"}, x),
    target === null ? null : svg("line", {class: "target", x1: LEFT, x2: WIDTH - RIGHT, y1: atY(target), y2: atY(target)}),
    ...drawn.flatMap((one, at) => [svg("path", {class: `line c${at % 8}`, d: path(one)}),
      ...one.points.length > FEW || one.steps ? [] : one.points.map(([a, b]) =>
        svg("circle", {class: `c${at % 8}`, r: 3.5, cx: atX(a), cy: atY(b)}))]));
  const names = drawn.length > 1 || target !== null ? el("ul", {class: "legend"},
    ...drawn.map((one, at) => el("li", {}, el("i", {class: `c${at % 8}`}), el("bdi", {}, one.name))),
    target === null ? null : el("li", {}, el("i", {class: "target"}), `target ${number(target)}`)) : null;
  const rows = drawn.flatMap(one => one.points.slice(-50).map(([a, b]) => [one.name, a, b]));
  const body = el("tbody");
  const opened = el("details", {}, el("summary", {}, "as a table"), scrolling(`${label}, as a table`,
    el("table", {}, el("thead", {}, el("tr", {}, ...["line", x, y].map(one => el("th", {scope: "col"}, one)))), body)));
  opened.addEventListener("toggle", () => {
    if (!body.children.length) body.append(...rows.map(([line, a, b]) => el("tr", {},
      el("td", {}, el("bdi", {}, line)), el("td", {class: "num"}, number(a)), el("td", {class: "num"}, number(b)))));
  });
  return el("figure", {class: "lines"}, el("figcaption", {}, y), names, picture, opened);
};
