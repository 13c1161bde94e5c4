/* Charts of trials in their order: best so far, curves, rungs, timeline, what time has bought. */
(() => {
"use strict";
const {num, count, axis, cut, isNumber, extent, far, menu, UNMARKED} = hpoCharts.tools;

const CROSS = "path://M0,1L4,5L0,9L1,10L5,6L9,10L10,9L6,5L10,1L9,0L5,4L1,0Z";
// Marks of trials by kind, those that stand out on top; `at(row)` gives [x, y], which are framed.
const marks = (data, theme, rows, at, frame, size = 7, across = null) => {
  const point = row => {
    const [x, y] = at(row);
    const made = {value: [across ? across.put(x) : x, frame ? frame.put(y) : y, row]};
    if (frame?.beyond(y)) Object.assign(made, {symbol: "triangle", symbolRotate: frame.turn(y)});
    else if (across?.beyond(x)) {
      Object.assign(made, {symbol: "triangle", symbolRotate: across.turn(x) ? 90 : -90});
    }
    return made;
  };
  const several = data.objectives.length > 1;
  const is = {best: row => data.leading.has(row), broken: row => data.infeasible.has(row)};
  const plain = rows.filter(row => !is.best(row) && !is.broken(row));
  const small = plain.length > 1500 ? 4 : plain.length > 150 ? 5 : size;
  const edge = {borderColor: theme.page, borderWidth: small > 5 ? 1 : 0};
  const series = [
    {name: "trials", data: plain.map(point), symbolSize: small, z: 2,
      itemStyle: {color: theme.complete, opacity: plain.length > 1500 ? 0.5 : 0.8, ...edge}},
    {name: "breaks a constraint", data: rows.filter(is.broken).map(point), symbolSize: small, z: 3,
      itemStyle: {color: "transparent", borderColor: theme.broken, borderWidth: 1.6}},
    {name: several ? "Pareto front" : "best trial", data: rows.filter(is.best).map(point), z: 5,
      symbol: "diamond", symbolSize: 13,
      itemStyle: {color: theme.best, borderColor: theme.page, borderWidth: 1.5}},
  ];
  return series.filter(one => one.data.length).map(one => ({type: "scatter", ...one}));
};
const rowOf = event => Array.isArray(event.value) ? event.value[2] : event.data?.row;
const pointed = (data, ...metrics) => ({formatter: event => {
  const row = rowOf(event);
  return isNumber(row) ? data.facts(row, ...metrics) : "";
}});

hpoCharts.add("best", {
  title: "Best so far",
  nothing: "No trial is complete yet.",
  applies: data => data.complete.length + data.failed.length > 0,
  controls: data => [menu.metric(data)],
  build(data, {metric}, theme) {
    const rows = data.having(metric), name = data.metrics[metric];
    const frame = data.frame(metric, rows), order = data.better(metric);
    const steps = [];
    let best = null;
    for (const row of rows) {
      const value = data.value(row, metric);
      if (data.infeasible.has(row) || (best !== null && order(value, best.value) >= 0)) continue;
      best = {row, value};
      steps.push(best);
    }
    const line = steps.map(one => [data.number[one.row], frame.put(one.value), one.row]);
    const last = data.number[data.number.length - 1];
    if (line.length) line.push([last, line[line.length - 1][1], best.row]);
    const target = data.objective(metric)?.target ?? null;
    const inView = isNumber(target) && (!frame.log || target > 0);
    const series = [
      {type: "line", name: "best so far", step: "end", data: line, symbol: "none", z: 4,
        silent: true,
        lineStyle: {color: theme.best, width: 2.5}, itemStyle: {color: theme.best},
        markLine: inView ? {silent: true, symbol: "none", data: [{yAxis: target}],
          lineStyle: {color: theme.target, type: "dashed", width: 1.5},
          label: {formatter: `target ${num(target)}`, position: "insideEndTop",
            color: theme.target}}
          : undefined},
      ...marks(data, theme, rows, row => [data.number[row], data.value(row, metric)], frame),
      {type: "scatter", name: "failed (no value)", yAxisIndex: 1, symbolSize: 8, z: 1,
        symbol: CROSS, data: data.failed.map(row => [data.number[row], 0.015, row]),
        itemStyle: {color: theme.failed}},
    ].filter(one => one.data.length);
    const values = rows.map(row => frame.put(data.value(row, metric)));
    const [low, high] = extent(inView ? [...values, target] : values);
    const room = frame.log ? 0 : (high - low || Math.abs(high) || 1) * 0.05;
    const ends = frame.log || !values.length ? {} : {min: low - room, max: high + room};
    const reached = !isNumber(target) || !best ? ""
      : order(best.value, target) <= 0 ? ` The target ${num(target)} is reached.`
        : ` The target ${num(target)} is not reached.`;
    return {
      option: {series, tooltip: pointed(data, metric),
        xAxis: axis(theme, {name: "trial", minInterval: 1, splitLine: {show: false}, scale: false,
          min: data.number[0] ?? 0, max: Math.max(last ?? 1, 1)}),
        yAxis: [axis(theme, {name: cut(name, 40), nameGap: 44, type: frame.type, ...ends,
          axisLabel: frame.log ? {} : UNMARKED}),
          {type: "value", min: 0, max: 1, show: false}],
        dataZoom: [{type: "inside", zoomOnMouseWheel: "ctrl", moveOnMouseWheel: false}]},
      sentence: best
        ? `Best ${name}: ${num(best.value)} in trial ${data.number[best.row]}, after `
          + `${count(steps.length, "improvement")}.${reached}${far(frame.far)}`
        : `No trial that counts has a value of ${name}.`,
      table: () => ({heads: ["trial", name, "better by"], rows: steps.map((one, i) =>
        [data.number[one.row], one.value, i ? Math.abs(one.value - steps[i - 1].value) : null])}),
      rowOf,
    };
  },
});

// Curves: some trials as lines, and how all that were looked at lie.
const curveStyle = (data, theme, row, several) => {
  const best = data.leading.has(row), state = data.state(row);
  return {name: best ? (several ? "Pareto front" : "best trial") : state, z: best ? 5 : 3,
    lineStyle: {width: best ? 3 : 1.2, opacity: best ? 1 : 0.5,
      type: state === "failed" ? "dotted" : "solid", color: best ? theme.best : theme[state]},
    itemStyle: {color: best ? theme.best : theme[state]}};
};
const lines = (data, theme, rows, points, more = {}) => rows.map((row, at) => ({
  type: "line", symbol: "none", triggerLineEvent: true, ...curveStyle(data, theme, row,
    data.objectives.length > 1), data: points(at), row, ...more}));
const lineTip = (data, rows, metric) => ({formatter: event =>
  event.seriesType === "line" && rows[event.seriesIndex] !== undefined
    ? data.facts(rows[event.seriesIndex], metric) : ""});
const logOf = values => {
  const [low, high] = extent(values);
  return low > 0 && high / low >= 100 ? "log" : "value";
};

hpoCharts.add("curves", {
  title: "Learning curves",
  nothing: "No trial has reported a metric by step.",
  applies: data => data.doc.curves.length > 0,
  controls: data => [{name: "curve", label: "metric", value: 0,
    options: data.doc.curves.map(one => data.metrics[one.metric])}],
  build(data, {curve}, theme) {
    const found = data.doc.curves[curve] ?? data.doc.curves[0];
    const name = data.metrics[found.metric];
    const drawn = lines(data, theme, found.rows,
      at => found.values[at].map((v, i) => [found.steps[found.at[at]][i], v]));
    const {levels, steps, values} = found.quantiles;
    const middle = steps.length < 2 || found.of < 10 ? [] : levels.map((level, i) => ({
      type: "line", symbol: "none", silent: true, z: 4, name: level === 0.5 ? "median"
        : "quantiles",
      lineStyle: {color: theme.ink, width: level === 0.5 ? 2 : 1, type: "dashed",
        opacity: level === 0.5 ? 0.9 : 0.55},
      itemStyle: {color: theme.ink}, data: steps.map((step, at) => [step, values[i][at]])}));
    const shown = found.values.flat();
    const climbed = data.doc.rungs.ladder.length > 1 && found.metric === data.objectives[0].metric
      ? data.doc.rungs.ladder : [];
    if (drawn.length && climbed.length <= 12) {
      drawn[0].markLine = {silent: true, symbol: "none", data: climbed.map(at => ({xAxis: at})),
        lineStyle: {color: theme.line, type: "solid"}, label: {show: false}};
    }
    const [low, high] = extent(found.steps.flat());
    return {
      option: {series: [...drawn, ...middle], tooltip: lineTip(data, found.rows, found.metric),
        xAxis: axis(theme, {name: "step", minInterval: 1, min: low, max: Math.max(high, low + 1),
          splitLine: {show: false}}),
        yAxis: axis(theme, {name: cut(name, 40), nameGap: 44, type: logOf(shown)}),
        dataZoom: [{type: "inside", zoomOnMouseWheel: "ctrl", moveOnMouseWheel: false}]},
      sentence: `${name} by step: ${count(found.rows.length, "trial")} of ${num(found.of)} as lines`
        + (middle.length ? "; dashed, where 10, 25, 50, 75 and 90 percent of them lie." : "."),
      table: () => ({heads: ["trial", "first", "last", "steps"], rows: found.rows.map((row, at) => {
        const line = found.values[at];
        return [data.number[row], line[0], line[line.length - 1], line.length];
      })}),
      rowOf: event => event.seriesType === "line" ? found.rows[event.seriesIndex] : undefined,
    };
  },
});

hpoCharts.add("rungs", {
  title: "Values by rung",
  nothing: "No trial has reached a second rung.",
  applies: data => data.doc.rungs.ladder.length > 1,
  build(data, _, theme) {
    const {ladder, unit, rows, at, values, of} = data.doc.rungs;
    const metric = data.objectives[0].metric, name = data.metrics[metric];
    const series = lines(data, theme, rows, i => at[i].map((rung, j) => [rung, values[i][j]]),
      {symbol: "circle", symbolSize: 5});
    const reached = ladder.map((rung, place) => values.flatMap((line, i) =>
      line.filter((_, j) => at[i][j] === place)));
    const order = data.better(metric);
    return {
      option: {series, tooltip: lineTip(data, rows, metric),
        xAxis: {...axis(theme, {name: unit, splitLine: {show: false}}), type: "category",
          data: ladder.map(rung => num(rung))},
        yAxis: axis(theme, {name: cut(name, 40), nameGap: 44, type: logOf(values.flat())})},
      sentence: `${name} at ${count(ladder.length, "rung")}, a line per trial`
        + (of > rows.length ? ` (${rows.length} of ${num(of)})` : "") + ": "
        + ladder.map((rung, i) => `${reached[i].length} at ${num(rung)}`).join(", ") + ".",
      table: () => ({heads: [unit, "trials", "best", "worst"], rows: ladder.map((rung, i) => {
        const sorted = [...reached[i]].sort(order);
        return [rung, sorted.length, sorted[0], sorted[sorted.length - 1]];
      })}),
      rowOf: event => event.seriesType === "line" ? rows[event.seriesIndex] : undefined,
    };
  },
});

Object.assign(hpoCharts.tools, {marks, rowOf, pointed, CROSS});
})();
