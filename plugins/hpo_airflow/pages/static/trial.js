/* A trial: what it was given, how its metrics went, its attempts, its log and what it has left. */

import {badge, duration, el, facts, link, moment, name, note, number, replace, scrolling, section, whole,
  NOTHING} from "./dom.js";
import {address, follow, get, tell} from "./api.js";
import {airflow, leave} from "./frame.js";
import {stopTrial} from "./actions.js";
import {drawLines} from "./lines.js";

const OPEN_S = 4, ENDED_S = 60, MOST_PAGES = 20, MOST_LINES = 2000, FIRST_METRICS = 8;

export const show = async (main, query) => {
  const places = await found(query);
  if (!places) {
    main.replaceChildren(note("This task runs no trial of hyperparameter tuning."));
    return;
  }
  const {run, trials} = places, list = el("div");
  let number_ = trials.at(-1);
  const choose = trials.length > 1 ? el("div", {class: "filters"}, el("label", {}, el("span", {}, "Trial of this slot"),
    el("select", {onchange: event => { number_ = Number(event.target.value); parts = pieces(run, number_, list); again(); }},
      ...trials.map(one => el("option", {value: one, selected: one === number_}, String(one)))))) : "";
  main.replaceChildren(choose, list);
  let parts = pieces(run, number_, list);
  const again = follow(() => parts());
  document.addEventListener("acted", again);
};

const found = async query => {
  if (query.has("n")) return {run: Number(query.get("run")), trials: [Number(query.get("n"))]};
  const index = Number.parseInt(query.get("map_index"), 10);
  const asked = {dag_id: query.get("dag_id"), dag_run_id: query.get("dag_run_id"), task_id: query.get("task_id"),
    map_index: Number.isInteger(index) ? index : -1};
  try {
    const there = await get("overview/task", asked);
    return there.trials.length ? there : null;
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
};

/* Draws a trial in a place; gives what brings that up to date. */
const pieces = (id, trial, place) => {
  const head = el("div"), curves = el("div", {class: "charts"}), tried = el("div"), log = el("div"), left = el("div");
  place.replaceChildren(head, section("Metrics by step", "curves", curves), tried, section("Log", "log", log), section("What it has left", "files", left));
  logButton(log, id, trial);
  left.append(el("button", {type: "button", onclick: () => files(left, id, trial)}, "List its files"));
  let before = "", summary = null;
  return async () => {
    summary ??= await get(`runs/${id}/summary`);
    const one = await get(`runs/${id}/trials/${trial}`);
    tell(null);
    document.title = `Trial ${trial} · run ${id}`;
    const open = one.state === "running" || one.state === "waiting";
    const text = JSON.stringify(one);
    if (text !== before) {
      before = text;
      replace(head, ...heading(summary, one));
      replace(tried, attempts(one));
      replace(curves, ...await curvesOf(id, trial, summary));
    }
    return open ? OPEN_S : ENDED_S;
  };
};

const heading = (run, one) => {
  const open = one.state === "running" || one.state === "waiting";
  const metrics = open ? one.shown : one.metrics;
  return [
    el("h1", {}, `Trial ${one.number} `, badge(one.state), " of ", link(`run?id=${run.id}`, "run ", String(run.id))),
    one.reason || one.cause ? el("p", {class: one.state === "failed" ? "notable" : ""},
      one.cause ? `${one.cause.replaceAll("_", " ")}: ` : "", name(one.reason ?? "", 1000)) : "",
    open && run.may.stop_trial ? el("p", {class: "buttons"}, el("button", {type: "button", onclick: () => stopTrial(run.id, one.number)}, "Stop …")) : "",
    el("div", {class: "pair"},
      section("Parameters", "params", facts(Object.entries(one.params).map(([key, value]) => [name(key), name(number(value), 400)]))),
      section(open ? `Metrics so far${one.step === null ? "" : `, at step ${one.step}`}` : "Metrics", "metrics",
        Object.keys(metrics).length ? facts(Object.entries(metrics).map(([key, value]) => [name(key), number(value)])) : note(open ? "None yet." : "None."))),
    facts([["took", one.duration_s === null ? null : duration(one.duration_s)], ["origin", one.origin], ["slot", one.slot],
      ["seed", one.seed], ["reused from", one.reused_from]]),
  ];
};

const attempts = one => {
  const rows = one.attempts.map(each => el("tr", {}, el("th", {scope: "row"}, String(each.number)), el("td", {}, badge(each.state)),
    el("td", {}, moment(each.started_at)), el("td", {}, each.ended_at ? duration((new Date(each.ended_at) - new Date(each.started_at)) / 1000) : NOTHING),
    el("td", {class: "num"}, each.exit_code === null ? NOTHING : String(each.exit_code)),
    el("td", {class: "words"}, each.cause ? `${each.cause.replaceAll("_", " ")}: ` : "", name(each.reason ?? "", 200))));
  const heads = ["attempt", "state", "began", "took", "exit code", "why"];
  return section("Attempts", "attempts", rows.length ? scrolling("table of attempts",
    el("table", {}, el("thead", {}, el("tr", {}, ...heads.map(word => el("th", {scope: "col"}, word)))), el("tbody", {}, ...rows)))
    : note("None has begun."));
};

/* Each metric by step, the objectives first. */
const curvesOf = async (id, trial, run) => {
  const series = new Map();
  let after = -1;
  for (let page = 0; page < MOST_PAGES && after !== null; page++) {
    const answer = await get(`runs/${id}/trials/${trial}/observations`, {after});
    for (const one of answer.observations.filter(each => each.step !== null && each.value !== null)) {
      if (!series.has(one.metric)) series.set(one.metric, []);
      series.get(one.metric).push([one.step, one.value]);
    }
    after = answer.next;
  }
  const first = run.objectives.map(one => one.metric);
  const order = [...series].sort(([a], [b]) => first.includes(b) - first.includes(a));
  const targets = new Map(run.objectives.map(one => [one.metric, one.target]));
  const drawn = order.slice(0, FIRST_METRICS).map(([metric, points]) => drawLines([{name: metric, points}],
    {x: "step", y: metric, whole: true, target: targets.get(metric) ?? null, label: `${metric} by step`}));
  return drawn.length ? drawn : [note("It has told no metric by step.")];
};

const files = async (place, id, trial) => {
  try {
    const {files: list, next, place: where} = await get(`runs/${id}/trials/${trial}/files`, {limit: 200});
    place.replaceChildren(list.length ? el("ul", {class: "files"}, ...list.map(one => el("li", {},
      el("a", {href: address(`runs/${id}/trials/${trial}/files/${one.name.split("/").map(encodeURIComponent).join("/")}`), download: one.name.split("/").at(-1)},
        name(one.name, 120)), ` ${size(one.size)}`))) : note("Nothing."), next ? note("And more.") : "", note("In ", name(where, 300)));
  } catch (error) {
    place.replaceChildren(note(name(error.message, 400)));
  }
};
const size = bytes => bytes < 1024 ? `${whole(bytes)} bytes` : bytes < 1 << 20 ? `${number(bytes / 1024, 3)} KiB` : `${number(bytes / (1 << 20), 3)} MiB`;

const logButton = (place, id, trial) => {
  const shown = el("pre", {class: "log", tabindex: "0", "aria-label": "log", hidden: true});
  const words = el("p", {class: "note"}), lines = [];
  let next = 0;
  const more = async () => {
    button.disabled = true;
    try {
      const log = await get(`runs/${id}/trials/${trial}/log`, {offset: next});
      lines.push(...log.lines);
      next = log.next;
      shown.textContent = lines.slice(-MOST_LINES).join("\n");
      shown.hidden = false;
      words.textContent = lines.length ? log.ended ? `${whole(lines.length)} lines, to its end.` : `${whole(lines.length)} lines so far.` : "It has logged nothing.";
      button.textContent = "More";
      button.hidden = log.ended;
    } catch (error) {
      words.textContent = error.message;
    }
    button.disabled = false;
  };
  const button = el("button", {type: "button", onclick: more}, "Show the log");
  place.append(shown, words, button);
};
