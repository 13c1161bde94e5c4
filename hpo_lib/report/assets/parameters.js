/* Charts of parameters: slices, a map of two, all at once, boxes and bars. */
(() => {
"use strict";
const {num, tip, axis, cut, extent, quantile, evenly, far, menu, marks, rowOf, pointed, CROSS,
  WITHIN, UNMARKED} = hpoCharts.tools;
const PANELS = 24, AXES = 12, LINES = 1000, POINTS = 2000, CELLS = 40;

const has = data => data.parameters.length > 0 && data.having(data.telling).length > 0;
// The best half of `most` trials and others evenly over the run.
const chosen = (data, metric, most) => {
  const ranked = data.ranked(metric);
  if (ranked.length <= most) return ranked;
  const best = ranked.slice(0, most / 2);
  const rest = ranked.slice(most / 2).sort((a, b) => a - b);
  return [...best, ...evenly(rest, most / 2)];
};
const mixed = (colors, share) => {
  const at = Math.min(Math.max(share, 0), 1) * (colors.length - 1), low = Math.min(Math.floor(at),
    colors.length - 2);
  const part = (color, i) => parseInt(color.slice(1 + 2 * i, 3 + 2 * i), 16);
  const mix = i => Math.round(part(colors[low], i)
    + (at - low) * (part(colors[low + 1], i) - part(colors[low], i)));
  return `rgb(${mix(0)},${mix(1)},${mix(2)})`;
};

hpoCharts.add("slices", {
  title: "Each parameter by itself",
  nothing: "No trial with a parameter has ended yet.",
  broad: true,
  applies: data => has(data) || data.parameters.length > 0 && data.failed.length > 0,
  controls: data => [menu.metric(data, data.telling)],
  build(data, {metric}, theme, drawing) {
    const width = drawing.element.clientWidth || 900;
    const many = Math.min(data.parameters.length, PANELS);
    const across = Math.max(1, Math.min(Math.floor(width / 270), many));
    const rows = chosen(data, metric, POINTS), frame = data.frame(metric, rows);
    const name = data.metrics[metric];
    const each = width / across, grid = [], xAxis = [], yAxis = [], series = [];
    const seen = rows.map(row => frame.put(data.value(row, metric)));
    const [low, high] = seen.length ? extent(seen) : [0, 1];
    const room = (high - low || Math.abs(high) || 1) * 0.06;
    const failed = evenly(data.failed, POINTS), floor = frame.log ? low / 1.5 : low - room;
    const ends = frame.log ? {min: floor / 1.1} : {min: floor - room / 2, max: high + room};
    for (let place = 0; place < many; place++) {
      const scale = data.scale(place, each - 60), left = (place % across) * each;
      const at = {gridIndex: place};
      grid.push({left: left + 44, width: each - 60, top: 26 + Math.floor(place / across) * 226,
        height: 150});
      xAxis.push({...axis(theme, {...scale.options,
        name: cut(scale.name, Math.floor((each - 60) / 7)),
        nameGap: 24, nameTextStyle: {color: theme.ink, fontWeight: 600, fontSize: 12},
          splitNumber: 4,
        triggerEvent: true}), ...at});
      yAxis.push({...axis(theme, {type: frame.type, splitNumber: 4,
        ...ends,
        axisLabel: {...UNMARKED, show: rows.length > 0, formatter: v => num(v, 3)}}), ...at});
      const having = rows.filter(row => data.param(row, place) !== null);
      const point = row => [scale.to(data.param(row, place)) + scale.jitter(row), data.value(row,
        metric)];
      const put = {xAxisIndex: place, yAxisIndex: place};
      series.push(...marks(data, theme, having, point, frame, 6).map(one => ({...one, ...put})));
      const lost = failed.filter(row => data.param(row, place) !== null);
      if (lost.length) {
        series.push({type: "scatter", name: "failed", symbol: CROSS, symbolSize: 7, z: 4, ...put,
          itemStyle: {color: theme.failed},
          data: lost.map(row => [scale.to(data.param(row, place)) + scale.jitter(row), floor,
            row])});
      }
      if (scale.choices) {
        const middles = scale.choices.map((_, choice) => [choice, quantile(having.filter(row =>
          data.param(row, place) === choice).map(row => frame.put(data.value(row, metric)))
            .sort((a, b) => a - b), 0.5)]);
        series.push({type: "scatter", name: "median", symbol: "rect", silent: true, z: 6, ...put,
          symbolSize: [Math.min(0.7 * (each - 60) / scale.choices.length, 60), 2.5],
          itemStyle: {color: theme.ink}, data: middles.filter(([, value]) => value !== null)});
      }
    }
    const filled = series.filter(one => one.data.length);
    const rest = data.parameters.length - many;
    return {
      option: {grid, xAxis, yAxis, series: filled, tooltip: pointed(data, metric)},
      height: 30 + Math.ceil(many / across) * 226, wide: width,
      sentence: (rows.length
        ? `${name} over each parameter, a mark per trial; spread sideways where `
        + `there are choices, whose medians are lines.${far(frame.far)}` : "Where the trials lie.")
        + (failed.length ? " The crosses at the bottom failed." : "")
        + (rest > 0 ? ` The first ${many} of ${data.parameters.length} parameters.` : ""),
      table: () => ({heads: ["parameter", "value", "trials", `best ${name}`, `median ${name}`],
        rows: data.parameters.flatMap((_, place) => groups(data, place, metric).map(group =>
          [data.parameters[place].name, group.name, group.values.length, group.best,
            group.middle]))}),
      rowOf, wholeOf: event => event.targetType === "axisName"
        ? data.parameters[event.xAxisIndex]?.name : data.label(event.xAxisIndex, event.value),
    };
  },
});

// Trials by choice, or by part of a range with as many trials each.
function groups(data, place, metric) {
  const scale = data.scale(place), order = data.better(metric);
  const rows = data.having(metric).filter(row => data.param(row, place) !== null);
  const made = (name, members) => {
    const values = members.map(row => data.value(row, metric)).sort(order);
    return {name, values, best: values[0], middle: quantile(values, 0.5), rows: members};
  };
  if (scale.choices) {
    return scale.choices.map((choice, at) => made(choice,
      rows.filter(row => data.param(row, place) === at)))
      .filter(group => group.values.length);
  }
  const sorted = [...rows].sort((a, b) => data.param(a, place) - data.param(b, place));
  const distinct = [...new Set(sorted.map(row => data.param(row, place)))];
  if (distinct.length <= 8) {
    return distinct.map(value => made(num(value, 5),
      rows.filter(row => data.param(row, place) === value)));
  }
  const parts = Math.min(6, Math.floor(sorted.length / 3)) || 1;
  const cuts = Array.from({length: parts + 1}, (_, i) => Math.round(i * sorted.length / parts));
  return cuts.slice(1).map((end, i) => sorted.slice(cuts[i], end)).filter(part => part.length)
    .map(part => {
    const [low, high] = [part[0], part[part.length - 1]].map(row => num(data.param(row, place), 3));
    return made(low === high ? low : `${low} … ${high}`, part);
  });
}

hpoCharts.add("boxes", {
  title: "A metric by the values of a parameter",
  nothing: "No trial with a value and a parameter yet.",
  applies: has,
  controls: data => [menu.metric(data, data.telling), menu.parameter(data, "x", "parameter", 0),
    {name: "bars", label: "as", options: ["boxes", "bars of the mean"], value: 0}],
  build(data, {metric, x, bars}, theme, drawing) {
    const width = drawing.element.clientWidth || 900;
    const found = groups(data, x, metric).slice(0, 40);
    const name = data.metrics[metric], of = data.parameters[x].name;
    const spread = found.map(group => {
      const sorted = [...group.values].sort((a, b) => a - b);
      return [0, 0.25, 0.5, 0.75, 1].map(share => quantile(sorted, share));
    });
    const mean = group => group.values.reduce((sum, value) => sum + value, 0) / group.values.length;
    const said = event => {
      const group = found[event.dataIndex], five = spread[event.dataIndex];
      return tip(`${of}: ${group.name}`, [["trials", group.values.length], ["least", five[0]],
        ["median", five[2]], ["mean", mean(group)], ["greatest", five[4]]]);
    };
    const look = {color: theme.complete, borderColor: theme.complete};
    const series = bars
      ? [{type: "bar", barMaxWidth: 46, itemStyle: look, data: found.map(mean)}]
      : [{type: "boxplot", data: spread, boxWidth: [8, 46], itemStyle: {...look, color: theme.band,
        borderWidth: 1.5}},
        {type: "scatter", symbolSize: 4, silent: true, itemStyle: {color: theme.complete,
          opacity: 0.45},
          data: found.flatMap((group, at) => evenly(group.rows, 60)
            .map(row => [at, data.value(row, metric)]))}];
    const sorted = [...found].sort((a, b) => data.better(metric)(a.middle, b.middle));
    return {
      option: {series, legend: null, tooltip: {formatter: said},
        xAxis: {...axis(theme, {name: cut(of, 40), splitLine: {show: false}, nameGap: 30}),
          type: "category",
          data: found.map(group => cut(group.name, 18)), axisLabel: {color: theme.muted,
            fontSize: 11, interval: 0, rotate: width / found.length < 110 ? 40 : 0}},
        yAxis: axis(theme, {name: cut(name, 40), nameGap: 44, scale: !bars})},
      wide: width,
      sentence: !sorted.length ? `No trial that counts has ${of} and ${name}.`
        : sorted.length < 2 ? `All trials have one value of ${of}.`
        : `${name} is best at ${of} ${sorted[0].name} (median ${num(sorted[0].middle)}), and worst at `
          + `${sorted[sorted.length - 1].name} (${num(sorted[sorted.length - 1].middle)}).`,
      table: () => ({heads: [of, "trials", "least", "lower quartile", "median", "upper quartile",
        "greatest", "mean"],
        rows: found.map((group, at) => [group.name, group.values.length, ...spread[at],
          mean(group)])}),
    };
  },
});

// Parameters that some trial with a value has.
const used = data => data.parameters.map((_, place) => place)
  .filter(place => data.having(data.telling).some(row => data.param(row, place) !== null));

hpoCharts.add("map", {
  title: "A map of two parameters",
  nothing: "A map needs two parameters and some complete trials.",
  applies: data => used(data).length > 1,
  controls: data => [menu.metric(data, data.telling), ...menu.pair(data)],
  build(data, {metric, x, y}, theme) {
    const name = data.metrics[metric], [across, up] = [data.scale(x), data.scale(y)];
    const rows = chosen(data, metric, POINTS)
      .filter(row => data.param(row, x) !== null && data.param(row, y) !== null);
    const frame = data.frame(metric, rows);
    const points = rows.map(row => ({row, value: frame.put(data.value(row, metric)),
      x: across.to(data.param(row, x)), y: up.to(data.param(row, y))}));
    const [low, high] = points.length ? extent(points.map(point => point.value)) : [0, 1];
    const lower = data.lowerIsBetter(metric);
    const goodness = value => high > low ? (lower ? high - value : value - low) / (high - low)
      : 0.5;
    const sheet = isGrid(points) ? cells(points) : surface(points, across.ends, up.ends);
    const banded = value => Math.round(goodness(value) * 10) / 10;
    const rect = {type: "custom", name: sheet.name, silent: sheet.silent, z: 1, data: sheet.cells,
      encode: {x: 0, y: 1}, clip: true, itemStyle: {color: theme.ramp[2]},
      renderItem: (_, api) => {
        const [cx, cy, value] = [api.value(0), api.value(1), api.value(2)];
        const [a, b] = [api.coord([cx - sheet.width / 2, cy + sheet.height / 2]),
          api.coord([cx + sheet.width / 2, cy - sheet.height / 2])];
        return {type: "rect", shape: {x: a[0], y: a[1], width: b[0] - a[0] + 0.6,
          height: b[1] - a[1] + 0.6},
          style: {fill: mixed(theme.ramp, sheet.silent ? banded(value) : goodness(value))}};
      }};
    const jitter = sheet.silent ? (scale, row) => scale.jitter(row) : () => 0;
    const dots = marks(data, theme, rows, row => [across.to(data.param(row, x))
      + jitter(across, row),
      up.to(data.param(row, y)) + jitter(up, row)], null, 6).map(one => ({...one,
      itemStyle: {...one.itemStyle, ...(one.name === "trials" ? {color: theme.ink, opacity: 0.45}
        : {})}}));
    const formatter = event => event.seriesType === "custom"
      ? tip(name, [[across.name, data.label(x, across.choices ? event.value[0]
        : across.from(event.value[0]))],
        [up.name, data.label(y, up.choices ? event.value[1] : up.from(event.value[1]))],
        ["mean", event.value[2]], ["trials", event.value[3]]])
      : pointed(data, metric).formatter(event);
    const named = (scale, way, gap) => axis(theme, {...scale.options, ...sheet.ends?.(way),
      name: cut(scale.name, 40), nameGap: gap, splitLine: {show: false}});
    const best = data.ranked(metric, rows)[0];
    return {
      option: {series: sheet.silent ? [rect, ...dots] : [rect], tooltip: {formatter},
        xAxis: named(across, "x", 28), yAxis: named(up, "y", 52),
        grid: {left: 4, right: 16, top: 56, bottom: 4, ...WITHIN},
        visualMap: {type: "continuous", seriesIndex: 99, min: low, max: high > low ? high : low + 1,
          left: 0, top: 24,
          orient: "horizontal", itemWidth: 10, itemHeight: 90, precision: 4, text: [num(high, 3),
            num(low, 3)],
          textStyle: {color: theme.muted}, inRange: {color: lower ? [...theme.ramp].reverse()
            : theme.ramp}},
      },
      height: 420,
      sentence: best === undefined ? "No trial has both parameters."
        : `${sheet.said} Best ${name}: ${num(data.value(best, metric))} at ${across.name} `
          + `${data.label(x, data.param(best, x))} and ${up.name} ${data.label(y, data.param(best, y))}.`,
      table: () => ({heads: ["trial", across.name, up.name, name], rows: data.ranked(metric, rows)
        .map(row =>
        [data.number[row], data.label(x, data.param(row, x)), data.label(y, data.param(row, y)),
          data.value(row, metric)])}),
      rowOf: event => event.seriesType === "scatter" ? rowOf(event) : undefined,
    };
  },
});

// Whether trials lie on a grid: few values either way, most of whose pairs were tried.
function isGrid(points) {
  const [xs, ys] = ["x", "y"].map(way => new Set(points.map(point => point[way])).size);
  const pairs = new Set(points.map(point => `${point.x} ${point.y}`)).size;
  return xs <= 30 && ys <= 30 && pairs >= 0.6 * xs * ys;
}
// The mean of the trials at each point of a grid.
function cells(points) {
  const found = new Map();
  for (const {x, y, value} of points) {
    const key = `${x} ${y}`, cell = found.get(key) ?? found.set(key, [x, y, 0, 0]).get(key);
    cell[2] += value;
    cell[3] += 1;
  }
  const gap = way => {
    const sorted = [...new Set(points.map(point => point[way]))].sort((a, b) => a - b);
    return Math.min(...sorted.slice(1).map((value, i) => value - sorted[i]), Infinity);
  };
  const finite = value => Number.isFinite(value) ? value : 1;
  const size = {x: finite(gap("x")), y: finite(gap("y"))};
  // The cells at the edge are whole.
  const ends = way => {
    const [low, high] = extent(points.map(point => point[way]));
    return {min: low - size[way] / 2, max: high + size[way] / 2};
  };
  return {name: "mean of trials", silent: false, said: "The mean at each point of the grid.",
    cells: [...found.values()].map(([x, y, sum, n]) => [x, y, sum / n, n]),
    width: size.x, height: size.y, ends};
}
// A smooth surface: the mean of trials, near ones weighing most (Nadaraya and Watson); none where
// no trial is near.
function surface(points, [left, right], [bottom, top]) {
  const width = (right - left || 1) / CELLS, height = (top - bottom || 1) / CELLS, made = [];
  const near = Math.max(0.05, 0.32 * points.length ** (-1 / 6));
  const placed = evenly(points, 600).map(point => [(point.x - left) / (right - left || 1),
    (point.y - bottom) / (top - bottom || 1), point.value]);
  for (let i = 0; i < CELLS; i++) for (let j = 0; j < CELLS; j++) {
    const [u, v] = [(i + 0.5) / CELLS, (j + 0.5) / CELLS];
    let sum = 0, weights = 0;
    for (const [x, y, value] of placed) {
      const weight = Math.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * (near / 2) ** 2));
      sum += weight * value;
      weights += weight;
    }
    if (weights > 0.1) made.push([left + (i + 0.5) * width, bottom + (j + 0.5) * height,
      sum / weights, 0]);
  }
  return {name: "smoothed", silent: true, cells: made, width, height,
    said: "Smoothed over the trials nearby, and blank where none is."};
}
Object.assign(menu, {pair: data => {
  const always = used(data).filter(place => !data.parameters[place].conditional);
  const [x, y] = always.length > 1 ? always : used(data);
  return [menu.parameter(data, "x", "across", x), menu.parameter(data, "y", "up", y)];
}});
Object.assign(hpoCharts.tools, {chosen, mixed, AXES, LINES});
})();
