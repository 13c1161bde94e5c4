/* What lists show of a run, each in a cell. */

import {badge, bar, duration, el, hours, link, moment, name, number, percent, whole, NOTHING} from "./dom.js";

export const runLink = run => link(`run?id=${run.id}`, `#${run.id}`);
export const stateOf = run => {
  const stopped = run.stopped_by && run.status === "complete";
  return badge(run.status, stopped ? "stopped" : run.status);
};
export const why = run => run.status === "running" ? null : run.reason;

export const bestOf = run => {
  if (run.objectives.length > 1) return run.front ? `${whole(run.front)} on the front` : NOTHING;
  return number(run.best);
};
export const progressOf = run => {
  if (run.status === "refused") return NOTHING;
  const total = run.max_trials ?? run.done;
  return el("span", {class: "progress"}, bar(run.trials, total), ` ${whole(run.done)}/${whole(total)}`);
};
export const leftOf = run => {
  if (run.status !== "running" || !run.expected_end) return NOTHING;
  const left = (new Date(run.expected_end) - Date.now()) / 1000;
  return left > 0 ? duration(left) : "any moment";
};

export const RUN_COLUMNS = [
  {key: "run", title: "Run", sort: "id", first: "-", head: true, cell: runLink},
  {key: "experiment", title: "Experiment", sort: "experiment",
    cell: run => run.experiment ? link(`runs?experiment=${encodeURIComponent(run.experiment)}`,
      name(run.experiment, 40)) : NOTHING},
  {key: "state", title: "State", sort: "status",
    cell: run => el("span", {}, stateOf(run), why(run) ? el("span", {class: "why"}, name(why(run), 90)) : null)},
  {key: "best", title: "Best", num: true,
    cell: run => el("span", {title: run.objectives.map(one => one.metric).join(", ")}, bestOf(run))},
  {key: "progress", title: "Trials", cell: progressOf},
  {key: "left", title: "ETA", num: true, cell: leftOf},
  {key: "idle", title: "Idle", num: true, about: "the share of the slots in which no trial ran",
    cell: run => percent(run.idle)},
  {key: "cost", title: "Hours", num: true, about: "of all attempts; of GPUs, where trials have some",
    cell: run => hours(run.trial_hours) + (run.gpu_hours ? ` (${hours(run.gpu_hours)} GPU)` : "")},
  {key: "who", title: "By", sort: "triggered_by", cell: run => name(run.triggered_by, 24)},
  {key: "began", title: "Began", sort: "started_at", first: "-", cell: run => moment(run.started_at)},
];
