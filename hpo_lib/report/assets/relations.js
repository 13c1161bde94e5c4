/* Charts of how columns go together: correlation, all parameters at once, metrics, overfitting. */
(() => {
"use strict";
const {num, count, axis, cut, isNumber, extent, menu, marks, rowOf, pointed, chosen, mixed,
  AXES, LINES, WITHIN, UNMARKED,
  ticksAt, decades} = hpoCharts.tools;
const MOST = 24;

// Ranks from 1, equal values sharing the mean of theirs.
function ranks(values) {
  const order = values.map((value, at) => [value, at]).sort((a, b) => a[0] - b[0]);
  const found = new Array(values.length);
  for (let i = 0; i < order.length;) {
    let j = i;
    while (j < order.length && order[j][0] === order[i][0]) j++;
    for (let k = i; k < j; k++) found[order[k][1]] = (i + j + 1) / 2;
    i = j;
  }
  return found;
}
function pearson(a, b) {
  const n = a.length, mean = list => list.reduce((sum, value) => sum + value, 0) / n;
  const [ma, mb] = [mean(a), mean(b)];
  let ab = 0, aa = 0, bb = 0;
  for (let i = 0; i < n; i++) {
    ab += (a[i] - ma) * (b[i] - mb);
    aa += (a[i] - ma) ** 2;
    bb += (b[i] - mb) ** 2;
  }
  return aa > 0 && bb > 0 ? ab / Math.sqrt(aa * bb) : null;
}
function correlation(left, right, ranked) {
  const both = left.map((value, i) => [value, right[i]])
    .filter(([a, b]) => isNumber(a) && isNumber(b));
  if (both.length < 3) return null;
  const [a, b] = [both.map(one => one[0]), both.map(one => one[1])];
  return ranked ? pearson(ranks(a), ranks(b)) : pearson(a, b);
}

hpoCharts.add("correlation", {
  title: "Correlation of parameters and metrics",
  nothing: "A correlation needs three complete trials.",
  applies: data => data.complete.length > 2 && data.parameters.length + data.metrics.length > 1,
  controls: () => [{name: "by", label: "of", options: ["ranks (Spearman)", "values (Pearson)"],
    value: 0}],
  build(data, {by}, theme) {
    const rows = chosen(data, data.objectives[0].metric, 2000);
    const columns = [
      ...data.whole.map(at => ({name: data.metrics[at],
        values: rows.map(row => data.value(row, at))})),
      ...data.parameters.map(({name}, at) => ({name,
        values: rows.map(row => data.param(row, at))})),
    ].filter(one => new Set(one.values.filter(isNumber)).size > 1);
    const used = columns.slice(0, MOST), pairs = [];
    used.forEach((down, j) => used.slice(0, j).forEach((across, i) => {
      const value = correlation(across.values, down.values, by === 0);
      if (value !== null) pairs.push({i, j, value});
    }));
    const strong = [...pairs].sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
    const told = pair => `${used[pair.i].name} and ${used[pair.j].name} ${num(pair.value, 2)}`;
    const labels = {color: theme.muted, fontSize: 11, interval: 0};
    const names = from => used.map(one => cut(one.name, from));
    const small = used.length > 14;
    const at = (gap, more) => ({type: "category", splitLine: {show: false}, axisTick: {show: false},
      axisLine: {show: false}, triggerEvent: true, ...more, axisLabel: {...labels, ...gap}});
    return {
      option: {legend: null, grid: {left: 4, right: 16, top: 10, bottom: 4, ...WITHIN},
        tooltip: {formatter: event => hpoCharts.tools.tip(num(event.value[2], 3), [
          ["", used[event.value[0]].name], ["", used[event.value[1]].name]])},
        xAxis: at({rotate: 45}, {data: names(14).slice(0, -1)}),
        yAxis: at({}, {data: names(18), inverse: true, min: 1}),
        series: [{type: "heatmap", itemStyle: {borderColor: theme.page, borderWidth: 1},
          label: {show: !small, formatter: event => num(event.value[2], 2), fontSize: 11},
          data: pairs.map(({i, j, value}) => ({value: [i, j, value],
            itemStyle: {color: mixed(theme.both, (value + 1) / 2)},
            label: {color: Math.abs(value) > 0.75 ? theme.page : theme.ink}}))}]},
      height: Math.min(60 + 34 * used.length, 640), minWidth: Math.min(28 * used.length + 120, 760),
      sentence: strong.length
        ? `The strongest: ${strong.slice(0, 3).map(told).join("; ")}. Choices count in their order.`
          + (columns.length > used.length ? ` The first ${MOST} of ${columns.length} columns.` : "")
        : "No two columns vary together.",
      table: () => ({heads: ["", "", "correlation"],
        rows: strong.map(one => [used[one.i].name, used[one.j].name, one.value])}),
      wholeOf: event => used.find(one => [cut(one.name, 14), cut(one.name, 18)]
        .includes(event.value))?.name,
    };
  },
});

// Half the width of a name above the first axis or the last.
const side = name => Math.max(40, 4 * name.length + 8);

hpoCharts.add("parallel", {
  title: "All parameters at once",
  nothing: "This needs two complete trials and a parameter.",
  applies: data => data.having(data.telling).length > 1 && data.parameters.length > 0,
  controls: data => [menu.metric(data, data.telling)],
  build(data, {metric}, theme, drawing) {
    const rows = chosen(data, metric, LINES), name = data.metrics[metric];
    const scales = data.parameters.slice(0, AXES).map((_, place) => data.scale(place));
    const frame = data.frame(metric, rows), on = frame.log ? Math.log10 : v => v;
    const ends = [...new Set([...data.partial.has(metric) ? []
      : data.objectives.map(one => one.metric), metric])];
    const order = new Map(data.ranked(metric, rows).map((row, rank) => [row, rank]));
    const text = {color: theme.muted, fontSize: 11, showMinLabel: true, showMaxLabel: true,
      backgroundColor: theme.page, padding: [1, 2]};
    const look = {nameTextStyle: {color: theme.ink, fontSize: 12, fontWeight: 600},
      axisLine: {lineStyle: {color: theme.line, width: 2}}, axisTick: {show: false},
      splitLine: {show: false}, triggerEvent: true,
      areaSelectStyle: {width: 18, color: theme.best, borderColor: theme.best, opacity: 0.3}};
    const logarithmic = frame.log && ticksAt(decades(...extent(rows.map(row =>
      frame.put(data.value(row, metric))))).map(Math.log10));
    const jitter = (scale, row) => scale.choices ? 0.5 * scale.jitter(row) : 0;
    const heads = [...scales.map((scale, dim) => ({dim, name: cut(scale.name, 14), ...look,
      ...scale.options, axisLabel: {...text, ...scale.options.axisLabel}})),
    ...ends.map((one, i) => {
      const ticks = one === metric && logarithmic || {};
      const formatter = at => num(ticks === logarithmic ? 10 ** at : at, 3);
      return {dim: scales.length + i, name: cut(data.metrics[one], 14), ...look, scale: true,
        type: "value", ...ticks, axisLabel: {...text, ...ticks.axisLabel, formatter}};
    })];
    const point = row => [...scales.map((scale, place) => {
      const value = data.param(row, place);
      return value === null ? NaN : scale.to(value) + jitter(scale, row);
    }), ...ends.map(one => one === metric
      ? on(frame.put(data.value(row, one))) : data.value(row, one) ?? NaN)];
    const worst = Math.max(order.size - 1, 1);
    const drawn = [...rows].sort((a, b) => order.get(b) - order.get(a));
    const many = drawn.length > 300;
    const best = data.ranked(metric, rows)[0];
    const brushed = chart => {
      const active = chart.getModel().getSeriesByIndex(0).getRawIndicesByActiveState("active");
      const within = active.map(at => drawn[at]);
      const first = data.ranked(metric, within)[0];
      const all = active.length === drawn.length || !active.length && !within.length;
      drawing.parts.said.textContent = all && !active.length ? sentence
        : `${count(within.length, "trial")} pass through what is brushed`
          + (first === undefined ? "." : `; the best is trial ${data.number[first]} with `
            + `${name} ${num(data.value(first, metric))}.`);
      drawing.options.onSelect?.(active.length ? within.map(row => data.number[row]) : null);
    };
    const sentence = best === undefined ? `No trial that counts has a value of ${name}.`
      : `A line per trial through its parameters to ${ends.map(one =>
      data.metrics[one]).join(" and ")}; the thick one is the best, trial ${data.number[best]}. `
      + "Drag along an axis to keep the trials that pass there."
      + (drawn.length < data.having(metric).length
        ? ` ${drawn.length} of ${num(data.having(metric).length)} are drawn.` : "");
    return {
      option: {grid: null, legend: null, parallelAxis: heads,
        parallel: {left: side(heads[0].name), right: Math.max(side(heads[heads.length - 1].name), 66),
          top: 34, bottom: 16,
          parallelAxisDefault: {nameLocation: "end", nameGap: 14}},
        tooltip: {formatter: event => data.facts(drawn[event.dataIndex], metric)},
        series: [{type: "parallel", smooth: false, progressive: 0, inactiveOpacity: 0.04,
          activeOpacity: 0.9, lineStyle: {width: 1}, data: drawn.map(row => ({value: point(row),
            lineStyle: row === best ? {color: theme.best, width: 3.5, opacity: 1}
              : {color: mixed(theme.ramp, 1 - order.get(row) / worst), opacity: many ? 0.35 : 0.7,
                width: 1.2}}))}]},
      height: 380, minWidth: Math.min(84 * heads.length, 1400), sentence, brushed,
      table: () => ({heads: ["trial", name, ...scales.map(scale => scale.name)],
        rows: data.ranked(metric, rows).map(row => [data.number[row], data.value(row, metric),
          ...scales.map((_, place) => data.label(place, data.param(row, place)))])}),
      rowOf: event => event.componentType === "series" ? drawn[event.dataIndex] : undefined,
      wholeOf: event => event.targetType === "axisName"
        ? [...scales.map(one => one.name), ...ends.map(one => data.metrics[one])]
          .find(one => cut(one, 14) === event.name) : undefined,
    };
  },
});

const validation = data => {
  const at = data.metrics.findIndex(name => /^val.*loss|^valid.*loss|test.*loss/i.test(name));
  return at >= 0 ? at : data.metrics.length > 1 ? 1 : 0;
};
hpoCharts.add("metrics", {
  title: "A metric against another",
  nothing: "This needs two metrics and a complete trial.",
  applies: data => data.metrics.length > 1 && data.complete.length > 0,
  controls: data => [menu.metric(data, validation(data), "x"),
    menu.metric(data, data.objectives[0].metric === validation(data) ? 1
      : data.objectives[0].metric, "y")].map((one, at) => ({...one, label: ["across", "up"][at]})),
  build(data, {x, y}, theme) {
    const rows = data.having(x, y), [left, up] = [data.metrics[x], data.metrics[y]];
    const [a, b] = [data.frame(x, rows), data.frame(y, rows)];
    const value = correlation(rows.map(row => data.value(row, x)),
      rows.map(row => data.value(row, y)), true);
    return {
      option: {tooltip: pointed(data, x, y),
        xAxis: axis(theme, {name: cut(left, 40), type: a.type, splitLine: {show: false}}),
        yAxis: axis(theme, {name: cut(up, 40), type: b.type, nameGap: 44}),
        series: marks(data, theme, rows, row => [data.value(row, x), data.value(row, y)], b,
          undefined, a)},
      sentence: `${up} against ${left}, ${count(rows.length, "trial")}`
        + (value === null ? "." : `; their ranks correlate with ${num(value, 2)}.`)
        + hpoCharts.tools.far(rows.filter(row => a.beyond(data.value(row, x))
          || b.beyond(data.value(row, y))).length),
      table: () => ({heads: ["trial", left, up], rows: data.ranked(y, rows).map(row =>
        [data.number[row], data.value(row, x), data.value(row, y)])}),
      rowOf,
    };
  },
});

// What keeps trials out whose validation is too far behind training.
const kept = (pair, most) => most === null || most === undefined ? null
  : pair.lower_is_better ? {metric: pair.gap, most} : {metric: pair.gap, least: -most};
hpoCharts.add("overfit", {
  title: "Training against validation",
  nothing: "No metric is there for both training and validation.",
  applies: data => data.doc.pairs.length > 0 && data.complete.length > 0,
  controls(data) {
    const {pairs} = data.doc;
    const names = pairs.map(one => `${data.metrics[one.train]} and ${data.metrics[one.validation]}`);
    const gap = pair => data.metrics[pair.gap];
    const keep = data.keep && pairs[0].gap === data.keep.metric ? data.keep : {};
    return [{name: "pair", label: "of", options: names, value: 0},
      {name: "most", number: true, value: keep.most ?? (keep.least === undefined ? null
        : -keep.least), label: `leave out trials that are behind by more than (${gap(pairs[0])})`,
      changed: (most, drawing) => drawing.options.onKeep?.(kept(
        pairs[drawing.chosen.pair ?? 0], most))}];
  },
  build(data, {pair, most}, theme) {
    const chosenPair = data.doc.pairs[pair] ?? data.doc.pairs[0];
    const {train, validation: held, gap} = chosenPair;
    const all = hpoCharts.columns(data.doc), rows = all.having(train, held);
    const within = new Set(data.kept(kept(chosenPair, most)).complete);
    const out = rows.filter(row => !within.has(row));
    const [x, y] = [data.metrics[train], data.metrics[held]];
    const [low, high] = rows.length ? extent(rows.flatMap(row =>
      [data.value(row, train), data.value(row, held)])) : [0, 1];
    const log = low > 0 && high / low >= 100, room = log ? 0 : (high - low || 1) * 0.04;
    const ends = log ? {min: low, max: high}
      : {min: low - room, max: high + room, axisLabel: UNMARKED};
    const at = row => [data.value(row, train), data.value(row, held)];
    const side = chosenPair.lower_is_better ? "above" : "below";
    const worst = [...rows].sort((a, b) => (chosenPair.lower_is_better ? -1 : 1)
      * (data.value(a, gap) - data.value(b, gap)))[0];
    return {
      option: {tooltip: pointed(data, train, held, gap),
        xAxis: axis(theme, {name: cut(x, 40), type: log ? "log" : "value", ...ends,
          splitLine: {show: false}}),
        yAxis: axis(theme, {name: cut(y, 40), nameGap: 44, type: log ? "log" : "value", ...ends}),
        series: [{type: "line", name: "equal", symbol: "none", silent: true, z: 1,
          data: [[ends.min, ends.min], [ends.max, ends.max]],
          lineStyle: {color: theme.muted, type: "dotted", width: 1.5},
          itemStyle: {color: theme.muted}},
        ...marks(data, theme, rows.filter(row => within.has(row)), at, null),
        ...(out.length ? [{type: "scatter", name: "left out", symbolSize: 6, z: 2,
          itemStyle: {color: "transparent", borderColor: theme.muted, borderWidth: 1.2},
          data: out.map(row => [...at(row), row])}] : [])]},
      height: 380,
      sentence: `Far ${side} the dotted line a trial has learned its training data by heart; `
        + (worst === undefined ? "none is there."
          : `farthest is trial ${data.number[worst]}, whose `
          + `${data.metrics[gap]} is ${num(data.value(worst, gap))}.`)
        + (out.length ? ` ${count(out.length, "trial")} of ${num(rows.length)} left out.` : ""),
      table: () => ({heads: ["trial", x, y, data.metrics[gap], "counts"],
        rows: rows.map(row => [data.number[row], ...at(row), data.value(row, gap),
          within.has(row) ? "yes" : "no"])}),
      rowOf,
    };
  },
});

hpoCharts.add("front", {
  title: "Pareto front",
  nothing: "There is one objective, so there is a best trial and no front.",
  applies: data => data.objectives.length > 1 && data.complete.length > 0,
  controls(data) {
    const of = data.objectives.map(one => one.metric);
    const options = of.map(one => data.metrics[one]);
    return [{name: "x", label: "across", options, values: of, value: of[0]},
      {name: "y", label: "up", options, values: of, value: of[1]}];
  },
  build(data, {x, y}, theme) {
    const rows = data.having(x, y), [a, b] = [data.frame(x, rows), data.frame(y, rows)];
    const named = metric => `${cut(data.metrics[metric], 30)} (${data.lowerIsBetter(metric)
      ? "less" : "more"} is better)`;
    const front = [...data.leading].filter(row => rows.includes(row))
      .sort((left, right) => data.value(left, x) - data.value(right, x));
    const put = row => [a.put(data.value(row, x)), b.put(data.value(row, y))];
    const line = data.objectives.length > 2 ? [] : front.map(put);
    const aim = [[x, "xAxis"], [y, "yAxis"]].flatMap(([metric, way]) => {
      const target = data.objective(metric)?.target;
      return isNumber(target) ? [{[way]: target}] : [];
    });
    return {
      option: {tooltip: pointed(data, x, y), series: [
        {type: "line", step: data.lowerIsBetter(y) === data.lowerIsBetter(x) ? "end" : "start",
          symbol: "none", silent: true, name: "edge of what is known", data: line,
          lineStyle: {color: theme.best, width: 1.5}, itemStyle: {color: theme.best},
          markLine: {silent: true, symbol: "none", data: aim, label: {show: false},
            lineStyle: {color: theme.target, type: "dashed"}}},
        ...marks(data, theme, rows, row => [a.put(data.value(row, x)), data.value(row, y)], b)],
      xAxis: axis(theme, {name: named(x), type: a.type, splitLine: {show: false}}),
      yAxis: axis(theme, {name: named(y), type: b.type, nameGap: 44})},
      height: 400,
      sentence: front.length
        ? `${count(front.length, "trial")} on the front: none is beaten in every objective.`
        : "The front is empty: every complete trial breaks a constraint.",
      table: () => ({heads: ["trial", data.metrics[x], data.metrics[y]], rows: front.map(row =>
        [data.number[row], data.value(row, x), data.value(row, y)])}),
      rowOf,
    };
  },
});
})();
