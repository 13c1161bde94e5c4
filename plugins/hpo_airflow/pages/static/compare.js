/* Runs side by side: how the best value went, what they have come to, and where their specs differ. */

import {el, hours, name, note, number, percent, scrolling, section, NOTHING} from "./dom.js";
import {get} from "./api.js";
import {drawLines} from "./lines.js";
import {progressOf, runLink, stateOf} from "./rows.js";

export const show = async (main, query) => {
  document.title = "Compare runs";
  const numbers = query.getAll("run").map(Number).filter(Number.isInteger);
  const ask = chooser(numbers);
  if (!numbers.length) {
    main.replaceChildren(el("h1", {}, "Compare runs"), ask, note("Name the runs by their numbers, or choose them in the list of runs."));
    return;
  }
  const {runs, differences} = await get("overview/compare", {run: numbers});
  const label = one => `#${one.run.id} ${one.run.experiment}`;
  const [first] = runs, metric = first.run.objectives[0].metric;
  const sameMetric = runs.every(one => one.run.objectives[0].metric === metric);
  const drawn = (x, points) => drawLines(runs.map(one => ({name: label(one), steps: true, points: points(one)})), {x,
    y: `best ${sameMetric ? metric : "value"} so far`, target: runs.length === 1 || sameMetric ? first.run.objectives[0].target : null,
    whole: x === "complete trials", label: `best value so far by ${x}`});
  const [unit, per] = Math.max(...runs.flatMap(one => one.hours), 0) < 2 ? ["minutes", 60] : ["hours", 1];
  const rows = [
    ["state", one => stateOf(one.run)],
    ["best", one => one.run.objectives.length > 1 ? `${one.run.front} on the front` : number(one.run.best)],
    ["trials", one => progressOf(one.run)],
    ["idle", one => percent(one.run.idle)],
    ["hours", one => hours(one.run.trial_hours)],
    ["by", one => name(one.run.triggered_by, 40)],
    ["why it ended", one => name(one.run.reason ?? NOTHING, 200)],
  ];
  const named = [...new Set(runs.flatMap(one => Object.keys(one.leading?.params ?? {})))];
  const value = (one, key) => {
    const found = one.leading?.params[key];
    return found === undefined ? NOTHING : name(number(found), 60);
  };
  main.replaceChildren(el("h1", {}, "Compare runs"), ask,
    sameMetric ? "" : el("p", {class: "notable"}, "The runs are after different metrics: their values are not comparable."),
    el("div", {class: "charts"}, drawn("complete trials", one => one.trials.map((x, at) => [x, one.best[at]])),
      drawn(`${unit} since the run began`, one => one.hours.map((x, at) => [x * per, one.best[at]]))),
    section("Side by side", "side", sheet("runs side by side", runs, rows.map(([words, cell]) => [words, runs.map(cell)]))),
    named.length ? section("Parameters of the best trials", "params", sheet("parameters side by side", runs,
      named.map(key => [name(key), runs.map(one => value(one, key))]))) : "",
    section("Where the specs differ", "spec", differences.length ? sheet("differences of the specs", runs,
      differences.map(one => [name(one.path), one.values.map(each => each === null ? NOTHING : name(number(each), 80))]))
      : note("They are the same.")));
};

const sheet = (label, runs, rows) => scrolling(label,
  el("table", {}, el("thead", {}, el("tr", {}, el("td"), ...runs.map(one => el("th", {scope: "col"}, runLink(one.run), " ", name(one.run.experiment, 30))))),
    el("tbody", {}, ...rows.map(([words, cells]) => el("tr", {}, el("th", {scope: "row"}, words), ...cells.map(cell => el("td", {}, cell)))))));

const chooser = numbers => {
  const input = el("input", {value: numbers.join(", "), size: 24, inputmode: "numeric"});
  const go = () => {
    const found = input.value.split(/[^0-9]+/).filter(one => one);
    location.href = `compare?${found.map(one => `run=${one}`).join("&")}`;
  };
  input.addEventListener("keydown", event => { if (event.key === "Enter") go(); });
  return el("div", {class: "filters"}, el("label", {}, el("span", {}, "Runs"), input),
    el("button", {type: "button", onclick: go}, "Compare"));
};
