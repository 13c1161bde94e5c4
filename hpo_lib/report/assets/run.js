/* Charts of a run as a whole: what time bought, slots, importance, the ten best, the champion. */
(() => {
"use strict";
const {num, count, time, tip, axis, cut, isNumber, extent, quantile, evenly, menu, rowOf,
  pointed, UNMARKED} = hpoCharts.tools;

hpoCharts.add("bought", {
  title: "What each hour has bought",
  nothing: "No complete trial has a time at which it ended.",
  applies: data => data.complete.some(row => isNumber(data.doc.trials.ended_s[row])),
  controls: data => [menu.metric(data),
    {name: "clock", label: "over", value: 0, options: ["hours of the run", "hours of all trials"]},
    {name: "price", label: "price of an hour", number: true, value: null}],
  build(data, {metric, clock, price}, theme) {
    const {ended_s: ended, duration_s: took} = data.doc.trials;
    const name = data.metrics[metric], order = data.better(metric);
    const byEnd = data.every.filter(row => isNumber(ended[row]))
      .sort((a, b) => ended[a] - ended[b]);
    const wanted = new Set(data.having(metric).filter(row => !data.infeasible.has(row)));
    let spent = 0, best = null;
    const steps = [];
    for (const row of byEnd) {
      spent += took[row] ?? 0;
      const value = data.value(row, metric);
      if (!wanted.has(row) || best !== null && order(value, best) >= 0) continue;
      best = value;
      steps.push({row, value, at: (clock ? spent : ended[row]) / 3600});
    }
    const whole = (clock ? spent : byEnd.length ? ended[byEnd[byEnd.length - 1]] : 0) / 3600;
    const dear = isNumber(price), unit = dear ? price : whole < 0.2 ? 3600 : whole < 3 ? 60 : 1;
    const word = dear ? "cost" : unit === 3600 ? "seconds" : unit === 60 ? "minutes" : "hours";
    const told = hours => dear ? num(hours * price, 3) : time(hours * 3600);
    const line = steps.map(one => [one.at * unit, one.value, one.row]);
    const room = steps.length === 1 ? {min: best - 0.1 * (Math.abs(best) || 1),
      max: best + 0.1 * (Math.abs(best) || 1)} : {};
    if (line.length) line.push([whole * unit, best, steps[steps.length - 1].row]);
    const last = steps[steps.length - 1], first = steps[0];
    const half = first && steps.find(one => Math.abs(one.value - first.value)
      >= Math.abs(last.value - first.value) / 2);
    return {
      option: {legend: null, tooltip: pointed(data, metric),
        xAxis: axis(theme, {name: `${word} ${clock ? "of all trials" : "since the run began"}`,
          scale: false, min: 0, max: whole * unit || 1, splitLine: {show: false},
          axisLabel: {showMaxLabel: false}}),
        yAxis: axis(theme, {name: cut(name, 28), nameGap: 44, ...room,
          axisLabel: {...UNMARKED, formatter: v => num(v, 4)}}),
        series: [{type: "line", step: "end", data: line, symbol: "circle", symbolSize: 6,
          lineStyle: {color: theme.best, width: 2.5}, itemStyle: {color: theme.best}}]},
      height: 280,
      sentence: !first ? `No trial has bought a value of ${name} yet.`
        : steps.length === 1 ? `One value of ${name} was bought in ${told(whole)}.`
          : `${told(half.at)} of ${told(whole)} bought the first half of what was gained in ${name}; `
            + `the last gain came at ${told(last.at)}, and the ${told(whole - last.at)} since then `
            + "bought nothing.",
      table: () => ({heads: [dear ? "cost" : "after", "trial", name, "gained"],
        rows: steps.map((one, i) => [told(one.at), data.number[one.row], one.value,
          i ? Math.abs(one.value - steps[i - 1].value) : null])}),
      rowOf,
    };
  },
});

hpoCharts.add("distribution", {
  title: "How the values are distributed",
  nothing: "No trial is complete yet.",
  applies: data => data.complete.length > 1,
  controls: data => [menu.metric(data)],
  build(data, {metric}, theme) {
    const rows = data.ranked(metric).sort((a, b) => data.value(a, metric) - data.value(b, metric));
    const name = data.metrics[metric], n = rows.length;
    const values = rows.map(row => data.value(row, metric));
    const frame = data.frame(metric, rows);
    const at = evenly(rows.map((row, i) => i), 1000).concat(n ? [n - 1] : []);
    const share = level => quantile(values, level);
    return {
      option: {legend: null, xAxis: axis(theme, {name: cut(name, 40), type: frame.type}),
        yAxis: axis(theme, {name: "share of trials at or below", nameGap: 44, min: 0, max: 1,
          scale: false, axisLabel: {color: theme.muted,
            formatter: v => `${Math.round(v * 100)} %`}}),
        tooltip: {trigger: "axis", axisPointer: {type: "none"}, formatter: ([event]) =>
          tip(`${num(event.value[0])} or less`,
            [["", `${Math.round(event.value[1] * 100)} % of trials`]])},
        series: [{type: "line", step: "end", symbol: "none", data: at.map(i =>
          [frame.put(values[i]), (i + 1) / n]), lineStyle: {color: theme.complete, width: 2},
        itemStyle: {color: theme.complete}}]},
      height: 280,
      sentence: n ? `${name} of ${count(n, "trial")}: half lie below ${num(share(0.5))}, a tenth below `
        + `${num(share(0.1))}, a tenth above ${num(share(0.9))}.` : `No trial has ${name}.`,
      table: () => ({heads: ["share of trials", `${name} at most`],
        rows: [0, 0.1, 0.25, 0.5, 0.75, 0.9, 1].map(level => [`${level * 100} %`, share(level)])}),
    };
  },
});

hpoCharts.add("timeline", {
  title: "Attempts over time, a row per slot",
  nothing: "Nothing has run yet.",
  applies: data => data.doc.attempts.row.length > 0,
  build(data, _, theme) {
    const {row, number, state, states, lane, start_s: start, length_s: length,
      left_out: rest} = data.doc.attempts;
    const end = extent(start.map((s, i) => s + length[i]))[1];
    const [unit, per] = end < 300 ? ["seconds", 1] : end < 10800 ? ["minutes", 60] : ["hours",
      3600];
    const lanes = Math.max(data.doc.run.slots, extent(lane)[1] + 1);
    const colors = {succeeded: theme.complete, failed: theme.failed, running: theme.running,
      stopped: theme.stopped};
    const words = {succeeded: "complete"};
    const draw = (_, api) => {
      const [x0, y] = api.coord([api.value(0), api.value(1)]), [x1] = api.coord([api.value(2), 0]);
      const height = Math.max(Math.min(api.size([0, 1])[1] * 0.78, 24), 2);
      const width = Math.max(x1 - x0 - (x1 - x0 > 4 ? 1 : 0), 1),
        text = String(data.number[api.value(3)]);
      const room = width > 8 * text.length + 4 && height > 12;
      return {type: "rect", shape: {x: x0, y: y - height / 2, width, height},
        style: {fill: api.visual("color")},
        textContent: room ? {style: {text, fill: theme.page, fontSize: 11}} : undefined,
        textConfig: {position: "inside"}};
    };
    const series = states.map((name, which) => ({type: "custom", name: words[name] ?? name,
      renderItem: draw, encode: {x: [0, 2], y: 1}, itemStyle: {color: colors[name]}, clip: true,
      progressive: 2000, data: state.map((one, i) => [one, i]).filter(([one]) => one === which)
        .map(([, i]) => [start[i] / per, lane[i] + 1, (start[i] + length[i]) / per, row[i], i])}))
      .filter(one => one.data.length);
    const failed = state.filter(one => states[one] === "failed").length;
    return {
      option: {series, xAxis: axis(theme,
        {name: `${unit} since the run began`, scale: false, min: 0,
        max: end / per || 1, splitLine: {show: false}, axisLabel: {color: theme.muted, fontSize: 11,
          showMaxLabel: false, formatter: v => num(v, 3)}}),
      yAxis: axis(theme, {name: "slot", inverse: true, min: 0.4, max: lanes + 0.6, minInterval: 1,
        splitLine: {show: false}, axisLabel: {color: theme.muted, fontSize: 11, showMinLabel: false,
          showMaxLabel: false, formatter: v => Number.isInteger(v) ? String(v) : ""}}),
      tooltip: {formatter: event => {
        const i = event.value[4];
        return tip(`trial ${data.number[row[i]]}${number[i] > 1 ? `, attempt ${number[i]}` : ""}`,
          [["", states[state[i]]], ["from", time(start[i])], ["for", time(length[i])]]);
      }},
      dataZoom: [{type: "inside", zoomOnMouseWheel: "ctrl", moveOnMouseWheel: false,
        filterMode: "weakFilter"}]},
      height: 110 + Math.min(30 * lanes, 560),
      sentence: `${count(row.length, "attempt")} in ${count(lanes, "slot")}`
        + `${failed ? `, ${num(failed)} of them failed` : ""}.`
        + (rest ? ` ${count(rest, "earlier attempt")} not drawn.` : ""),
      table: () => ({heads: ["trial", "attempt", "slot", "state", "from", "for"],
        rows: row.map((one, i) =>
        [data.number[one], number[i], lane[i] + 1, states[state[i]], time(start[i]),
          time(length[i])])}),
      rowOf: event => row[event.value[4]],
    };
  },
});

hpoCharts.add("importance", {
  title: "Which parameters mattered",
  nothing: "Importance is reckoned for the report, once ten trials are complete.",
  applies: data => data.doc.importance.length > 0,
  controls: data => [{name: "of", label: "for", value: 0,
    options: data.doc.importance.map(one => data.metrics[one.metric])}],
  build(data, {of}, theme) {
    const found = data.doc.importance[of] ?? data.doc.importance[0];
    const {methods, parameters} = found, names = parameters.map(at => data.parameters[at].name);
    const colors = [theme.complete, theme.target, theme.stopped];
    const shown = Math.min(names.length, 15);
    const bars = methods.map((method, m) => ({type: "bar", name: method.name, barMaxWidth: 12,
      barGap: "20%",
      itemStyle: {color: colors[m % 3]}, data: method.share.slice(0, shown)}));
    const whisker = (m, method) => ({type: "custom", name: method.name, silent: true, z: 5,
      encode: {x: [1, 2], y: 0}, data: method.low.slice(0, shown)
        .map((low, i) => [i, low, method.high[i]]),
      renderItem: (_, api) => {
        const laid = api.barLayout({count: methods.length, barMaxWidth: 12, barGap: "20%"})[m];
        const [a, b] = [api.coord([api.value(1), api.value(0)]),
          api.coord([api.value(2), api.value(0)])];
        const y = a[1] + laid.offsetCenter, line = (x1, y1, x2, y2) => ({type: "line",
          shape: {x1, y1, x2, y2}, style: {stroke: theme.ink, lineWidth: 1.2}});
        return {type: "group", children: [line(a[0], y, b[0], y), line(a[0], y - 3, a[0], y + 3),
          line(b[0], y - 3, b[0], y + 3)]};
      }});
    const part = value => `${Math.round(value * 100)} %`;
    return {
      option: {series: [...bars, ...methods.map((method, m) => whisker(m, method))],
        legend: {data: methods.map(one => one.name)},
        xAxis: axis(theme, {min: 0, scale: false, name: "share of importance",
          axisLabel: {color: theme.muted, formatter: part}}),
        yAxis: {type: "category", inverse: true, data: names.slice(0, shown)
          .map(name => cut(name, 22)),
          axisTick: {show: false}, axisLine: {show: false}, triggerEvent: true,
          axisLabel: {color: theme.ink, fontSize: 12}},
        tooltip: {formatter: event => tip(names[event.dataIndex], methods.map(method =>
          [method.name,
            `${part(method.share[event.dataIndex])} (${part(method.low[event.dataIndex])} `
            + `to ${part(method.high[event.dataIndex])})`]))}},
      height: 90 + shown * (methods.length * 14 + 14),
      sentence: found.said,
      table: () => ({heads: ["parameter", ...methods.flatMap(one => [one.name, "from", "to"])],
        rows: names.map((name, i) => [name, ...methods.flatMap(one =>
          [one.share[i], one.low[i], one.high[i]].map(part))])}),
      wholeOf: event => names.find(name => cut(name, 22) === event.value),
    };
  },
});

hpoCharts.add("top", {
  title: "The ten best, without overfitting",
  nothing: "No trial is complete yet.",
  applies: data => data.complete.length > 0,
  controls: data => [menu.metric(data)],
  build(data, {metric}) {
    const name = data.metrics[metric], pair = data.doc.pairs[0];
    const gaps = !pair ? [] : data.having(pair.gap).map(row => data.value(row, pair.gap))
      .sort((a, b) => a - b);
    const usual = data.keep || gaps.length < 4 ? null : pair.lower_is_better
      ? {metric: pair.gap, most: quantile(gaps, 0.75)} : {metric: pair.gap,
        least: quantile(gaps, 0.25)};
    const best = data.kept(usual).ranked(metric).slice(0, 10);
    const without = data.ranked(metric).slice(0, 10).filter(row => !best.includes(row));
    const limit = usual ?? data.keep;
    const why = limit && `${data.metrics[limit.metric]} ${limit.most === undefined
      ? `of ${num(limit.least)} or more` : `of ${num(limit.most)} or less`}`;
    const others = data.whole.filter(at => at !== metric).slice(0, 6);
    const shown = data.parameters.map((_, at) => at).slice(0, 12);
    return {
      option: null,
      sentence: (why ? `Only trials with ${why} count` : "All complete trials count")
        + (usual ? ", three quarters of them." : ".")
        + (without.length ? ` Left out of the ten best by ${name}: trial `
          + `${without.map(row => data.number[row]).join(", ")}.` : ""),
      table: () => ({heads: ["trial", name, ...others.map(at => data.metrics[at]),
        ...shown.map(at => data.parameters[at].name)],
      rows: best.map(row => [data.number[row], data.value(row, metric),
        ...others.map(at => data.value(row, at)),
          ...shown.map(at => data.label(at, data.param(row, at)))])}),
    };
  },
});

hpoCharts.add("champion", {
  title: "The champion by night",
  nothing: "No run has checked a champion.",
  applies: data => data.doc.champion !== null && data.doc.champion.checks.length > 0,
  build(data, _, theme) {
    const {metric, then, made_ms: made, checks} = data.doc.champion;
    const kind = (name, final) => ({type: "scatter", name, symbolSize: 9,
      itemStyle: final ? {color: theme.complete} : {color: "transparent",
        borderColor: theme.complete,
        borderWidth: 1.6}, data: checks.filter(one => one.final === final)
        .map(one => [one.at_ms, one.mean, one.run, one.error])});
    const bars = {type: "custom", silent: true, z: 1, encode: {x: 0, y: [1, 2]},
      data: checks.filter(one => one.error)
        .map(one => [one.at_ms, one.mean - one.error, one.mean + one.error]),
      renderItem: (_, api) => {
        const [a, b] = [api.coord([api.value(0), api.value(1)]),
          api.coord([api.value(0), api.value(2)])];
        return {type: "line", shape: {x1: a[0], y1: a[1], x2: b[0], y2: b[1]},
          style: {stroke: theme.complete, lineWidth: 1.5}};
      }};
    const last = checks[checks.length - 1];
    const from = then === null ? [] : [[made, then], [last.at_ms, then]];
    const [least, most] = extent([...from.map(([at]) => at), ...checks.map(one => one.at_ms)]);
    const room = most === least ? {min: least - 43200e3, max: most + 43200e3}
      : {boundaryGap: ["1%", "2%"]};
    const span = most - least || 86400e3;
    const spell = at => span < 3600e3 ? new Date(at).toISOString().slice(11, 19)
      : span < 3 * 86400e3 ? night(at).slice(5) : night(at).slice(0, 10);
    const night = at => new Date(at).toISOString().slice(0, 16).replace("T", " ");
    return {
      option: {series: [{type: "line", name: "when it was made", data: from, symbol: "none",
        silent: true,
        lineStyle: {color: theme.target, type: "dashed", width: 1.5},
          itemStyle: {color: theme.target}},
      bars, kind("final trials", true), kind("a trial of the search", false)]
        .filter(one => one.data.length),
      xAxis: axis(theme, {type: "time", splitLine: {show: false}, name: "when (UTC)",
        ...room, axisLabel: {formatter: spell}}),
      yAxis: axis(theme, {name: cut(metric, 26), nameGap: 44}),
      tooltip: {formatter: event => tip(`run ${event.value[2]}`, [["", night(event.value[0])],
        [metric, event.value[1]], ["±", event.value[3]]])}},
      height: 270,
      sentence: `${metric} of the champion in ${count(checks.length, "check")}: last ${num(last.mean)}`
        + (then === null ? "." : `, ${num(then)} when it was made.`),
      table: () => ({heads: ["run", "when (UTC)", metric, "±"],
        rows: checks.map(one => [one.run, night(one.at_ms), one.mean, one.error])}),
    };
  },
});
})();
