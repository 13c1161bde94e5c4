/* Reads the document of columns: values by row, scales of parameters, how values are framed. */
(() => {
"use strict";
const {num, cut} = hpoCharts.tools;
const isNumber = value => typeof value === "number" && Number.isFinite(value);
const golden = n => (n * 0.6180339887498949) % 1 - 0.5;

class Columns {
  constructor(document, keep = null, rows = null) {
    Object.assign(this, {columns: true, doc: document, keep});
    const {trials} = document;
    this.number = trials.number;
    this.objectives = document.objectives;
    this.metrics = document.metrics;
    this.parameters = document.parameters;
    this.leading = new Set(trials.leading);
    this.infeasible = new Set(trials.infeasible);
    this.every = trials.number.map((_, row) => row);
    const is = (row, state) => trials.states[trials.state[row]] === state;
    const first = trials.metrics[this.objectives[0].metric];
    this.complete = rows ?? this.every.filter(row => is(row, "complete") && isNumber(first[row]));
    // Metrics that trials have which are not complete: the first objective at a rung.
    this.partial = new Set(document.partial ?? []);
    this.whole = document.metrics.map((_, at) => at).filter(at => !this.partial.has(at));
    this.failed = this.every.filter(row => is(row, "failed"));
  }
  // A view of the same document in which only some complete trials count.
  kept(keep) {
    if (!keep) return this;
    const column = this.doc.trials.metrics[keep.metric] ?? [];
    const {most = Infinity, least = -Infinity} = keep;
    const within = row => !isNumber(column[row]) || column[row] <= most && column[row] >= least;
    return new Columns(this.doc, keep, this.complete.filter(within));
  }
  state(row) { return this.doc.trials.states[this.doc.trials.state[row]]; }
  value(row, metric) { return this.doc.trials.metrics[metric][row]; }
  param(row, place) { return this.doc.trials.params[place][row]; }
  // Complete trials that have all these metrics; of a rung all that have been there.
  having(...metrics) {
    const rows = metrics.some(one => this.partial.has(one)) ? this.every : this.complete;
    return rows.filter(row => metrics.every(one => isNumber(this.value(row, one))));
  }
  // What tells most of parameters: the first objective, or it at a rung where few are complete.
  get telling() { return this.doc.telling ?? this.objectives[0].metric; }
  objective(metric) { return this.objectives.find(one => one.metric === metric) ?? null; }
  // Which way a metric improves: told for objectives, guessed by its name for others.
  lowerIsBetter(metric) {
    const of = this.partial.has(metric) ? this.objectives[0].metric : metric;
    const direction = this.objective(of)?.direction;
    if (direction) return direction === "minimize";
    return /loss|err|mse|mae|rms|mape|perplex|deviance|entropy|_diff$|duration|time|latency|size/i
      .test(this.metrics[metric]);
  }
  better(metric) {
    return this.lowerIsBetter(metric) ? (a, b) => a - b : (a, b) => b - a;
  }
  // Rows by a metric, the best first; those that break a constraint come last.
  ranked(metric, rows = this.having(metric)) {
    const order = this.better(metric);
    return [...rows].sort((a, b) => this.infeasible.has(a) - this.infeasible.has(b)
      || order(this.value(a, metric), this.value(b, metric)) || a - b);
  }
  label(place, value) {
    if (value === null || value === undefined) return "not set";
    const {scale, choices} = this.parameters[place];
    return scale === "choice" ? choices[value] : num(value, 5);
  }
  named(row) {
    const values = this.objectives.map(({metric}) =>
      `${cut(this.metrics[metric], 40)} ${num(this.value(row, metric), 5)}`);
    return [`trial ${this.number[row]}`, this.state(row), ...values].join(" · ");
  }
  // What a pointer on a trial shows.
  facts(row, ...metrics) {
    const listed = new Set([...this.objectives.map(one => one.metric), ...metrics]);
    const measured = [...listed].map(one => [this.metrics[one], this.value(row, one)]);
    const shown = this.parameters.map((one, place) => [one.name, place])
      .filter(([, place]) => this.param(row, place) !== null).slice(0, 12)
      .map(([name, place]) => [name, this.label(place, this.param(row, place))]);
    const told = this.doc.trials.told.by_row[row];
    const said = told === undefined ? [] : [["", this.doc.trials.told.texts[told]]];
    const took = this.doc.trials.duration_s[row];
    const lasted = took === null ? [] : [["took", hpoCharts.tools.time(took)]];
    return hpoCharts.tools.tip(`trial ${this.number[row]} · ${this.state(row)}`,
      [...measured, ...shown, ...lasted, ...said]);
  }
  // A parameter's scale: `to` puts a value on a linear axis, `options` are that axis'.
  // What choices are called has so many pixels; what does not fit beside others is left out.
  scale(place, room = Infinity) {
    const {name, scale, choices, low, high, whole} = this.parameters[place];
    if (scale === "choice") {
      const most = Math.min(12, Math.max(7, Math.floor(room / choices.length / 7)));
      return {name, choices, to: value => value, from: at => choices[Math.round(at)],
        jitter: row => 0.5 * golden(this.number[row]), ends: [-0.5, choices.length - 0.5],
        options: {min: -0.6, max: choices.length - 0.4, splitLine: {show: false},
          ...ticksAt(choices.map((_, at) => at), at => cut(choices[at] ?? "", most))}};
    }
    const log = scale === "log", reverse = scale === "reverse_log";
    const to = log ? v => Math.log10(v) : reverse ? v => -Math.log10(Math.max(1 - v, 1e-16))
      : v => v;
    const from = log ? at => 10 ** at : reverse ? at => 1 - 10 ** -at : at => at;
    const [a, b] = [to(low), to(high)], margin = (b - a || 1) * 0.04;
    const spell = at => num(from(at), reverse ? Math.max(4, Math.ceil(at) + 1) : 4);
    const ticks = log ? ticksAt(decades(low, high).map(to), spell)
      : {minInterval: whole || reverse && b - a >= 2 ? 1 : 0,
        axisLabel: {hideOverlap: true, showMinLabel: false, showMaxLabel: false,
          formatter: at => whole && !Number.isInteger(at) ? "" : spell(at)}};
    return {name, choices: null, to, from, jitter: () => 0, ends: [a, b],
      options: {min: a - margin, max: b + margin, ...ticks}};
  }
  // How values are drawn: on a log scale if they span two decades, and only up to `edge`, so that
  // a few bad ones do not squeeze the others; they sit on the edge, as triangles.
  frame(metric, rows) {
    const values = rows.map(row => this.value(row, metric));
    const [low, high] = extent(values);
    const log = low > 0 && high / low >= 100;
    const on = log ? Math.log10 : v => v, sign = this.lowerIsBetter(metric) ? 1 : -1;
    const losses = values.map(v => sign * on(v)).sort((a, b) => a - b);
    const quarter = losses[Math.floor(3 * losses.length / 4)];
    const limit = quarter + 3 * (quarter - losses[0]);
    const outside = losses.length >= 8 && limit > losses[0] && losses[losses.length - 1] > limit;
    const at = outside ? sign * losses.filter(loss => loss <= limit).pop() : null;
    const edge = at === null ? null : log ? 10 ** at : at;
    const beyond = v => edge !== null && sign * (v - edge) > 0;
    return {log, beyond, far: values.filter(beyond).length, put: v => beyond(v) ? edge : v,
      symbol: v => beyond(v) ? "triangle" : "circle", turn: v => beyond(v) && sign < 0 ? 180 : 0,
      type: log ? "log" : "value"};
  }
}

// An axis with ticks at these places alone.
const ticksAt = (places, formatter) => ({
  axisTick: {show: false, customValues: places},
  axisLabel: {hideOverlap: true, customValues: places, formatter}});
// Round numbers from `low` to `high`, both above 0, for a log scale: 1, 10, 100 where that is enough.
function decades(low, high) {
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const within = parts => Array.from({length: last - first + 1}, (_, i) => parts.map(part =>
    Number(`${part}e${first + i}`))).flat().filter(value => value >= low && value <= high);
  const every = Math.ceil((last - first) / 8);
  const tens = within([1]).filter((_, i) => i % every === 0);
  if (tens.length > 2) return tens;
  const more = within([1, 2, 5]);
  return more.length > 1 ? more : [...new Set([low, high])];
}
// The ends of an axis that lie where they happen to.
const UNMARKED = {showMinLabel: false, showMaxLabel: false};

function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}
const quantile = (sorted, share) => {
  if (!sorted.length) return null;
  const at = share * (sorted.length - 1), low = Math.floor(at);
  return sorted[low] + (at - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
};
// At most so many of a list, evenly over it.
const evenly = (list, most) => list.length <= most ? list
  : Array.from({length: most}, (_, i) => list[Math.floor(i * list.length / most)]);
const far = n => n ? ` ${hpoCharts.tools.count(n, "trial")} far off ${n === 1 ? "is" : "are"} `
  + "drawn as triangles on the edge." : "";

// Menus that several charts have.
const menu = {
  metric: (data, value = data.objectives[0].metric, name = "metric", label = "metric") => (
    {name, label, options: data.metrics, value}),
  parameter: (data, name, label, value) => (
    {name, label, options: data.parameters.map(one => one.name), value}),
};

hpoCharts.columns = document => document.columns ? document : new Columns(document);
Object.assign(hpoCharts.tools, {isNumber, golden, extent, quantile, evenly, far, menu,
  ticksAt, decades, UNMARKED});
})();
