/* A run, while it runs and after: how it stands, its charts, trials, failures and model. */

import {badge, bar, clock, count, cut, duration, el, facts, hours, link, moment, name, note, number, percent,
  replace, section, tile, whole, NOTHING} from "./dom.js";
import {address, follow, get, look, tell} from "./api.js";
import {dagRun, leave} from "./frame.js";
import {buttons} from "./actions.js";
import {Advice} from "./advice.js";
import {Drawings} from "./drawings.js";
import {modelParts} from "./models.js";
import {leftOf, stateOf} from "./rows.js";
import {Trials} from "./trials.js";

const ENDED_S = 20;
const ARROWS = {maximize: "↑", minimize: "↓"};
const objective = one => `${ARROWS[one.direction] ?? ""} ${one.metric}`;

export const findRun = async query => {
  if (query.has("id")) return Number(query.get("id"));
  const names = {dag_id: query.get("dag_id"), dag_run_id: query.get("dag_run_id")};
  if (!names.dag_id || !names.dag_run_id) return null;
  const {runs} = await get("runs", names);
  return runs[0]?.id ?? null;
};

export const show = async (main, query) => {
  const id = await findRun(query);
  if (id === null) {
    main.replaceChildren(note("This DAG run has not begun a run of hyperparameter tuning."));
    return;
  }
  const head = el("div"), tiles = el("div", {class: "tiles"}), doing = el("div"), told = el("div");
  const parts = el("div"), last = el("div"), updated = el("p", {class: "note updated"});
  let drawings = null, trials = null, advice = null, shown = "";

  const load = async () => {
    const {data: run, changed, fresh} = await look(`runs/${id}/summary`);
    tell(null);
    if (changed || shown !== run.version) {
      shown = run.version;
      document.title = `${run.experiment || "refused"} · run ${run.id}`;
      replace(head, ...heading(run));
      replace(doing, buttons(run));
      replace(told, ...standing(run));
      replace(last, ...rest(run));
    }
    replace(tiles, ...tilesOf(run));
    if (run.status === "refused") return ENDED_S;
    if (!drawings) {
      drawings = new Drawings(run);
      trials = new Trials(run, query);
      advice = new Advice(run, drawings);
      parts.replaceChildren(section("Trials", "trials", trials.element), drawings.element, advice.element);
    }
    advice.update(run);
    const waits = [trials.update(run), drawings.update()];
    updated.textContent = `As of ${clock(new Date())}.`;
    const [table] = await Promise.all(waits);
    return run.status === "running" ? Math.max(fresh, table) : ENDED_S;
  };
  main.replaceChildren(head, doing, tiles, told, parts, last, updated);
  const again = follow(load);
  document.addEventListener("acted", again);
};

const heading = run => [
  el("h1", {}, run.experiment ? link(`runs?experiment=${encodeURIComponent(run.experiment)}`, name(run.experiment))
    : "A conf", ` · run ${run.id} `, stateOf(run)),
  el("p", {class: "links"},
    el("a", {href: dagRun(run), onclick: leave}, "In Airflow"),
    ...run.status === "refused" ? [] : [
      el("a", {href: address(`runs/${run.id}/report`), download: `report-${run.id}.html`}, "Report"),
      el("a", {href: address(`runs/${run.id}/trials.csv`), download: `trials-${run.id}.csv`}, "Trials as CSV"),
      el("a", {href: address(`runs/${run.id}/spec`), download: `spec-${run.id}.json`}, "Spec"),
      link(`compare?run=${run.id}`, "Compare")]),
  run.description ? el("p", {}, name(run.description, 400)) : "",
];

const tilesOf = run => {
  if (run.status === "refused") return [];
  const [first] = run.objectives, several = run.objectives.length > 1, [best] = run.leading;
  const target = first.target === null ? "" : `target ${number(first.target)}`;
  const where = best ? el("p", {class: "note"}, link(`trial?run=${run.id}&n=${best.number}`, `trial ${best.number}`),
    target && ` · ${target}`) : target || "no complete trial yet";
  const front = tile("Pareto front", count(run.front, "trial"), run.objectives.map(objective).join(" · "));
  const done = run.max_trials ?? run.done;
  const states = Object.entries(run.trials).filter(([, value]) => value)
    .map(([state, value]) => `${whole(value)} ${state}`).join(" · ");
  const open = run.status === "running", began = new Date(run.started_at);
  const elapsed = open ? run.elapsed_s + Math.max(0, (Date.now() - (run.seen ??= Date.now())) / 1000) : run.elapsed_s;
  return [
    several ? front : tile(`Best ${first.metric} ${ARROWS[first.direction] ?? ""}`,
      run.best === null ? NOTHING : number(run.best), where),
    tile("Trials done", `${whole(run.done)} of ${whole(done)}`, el("p", {class: "note"}, bar(run.trials, done)), states,
      run.reused ? `${whole(run.reused)} reused` : ""),
    tile(open ? "Time so far" : "Time", duration(elapsed), el("p", {class: "note"}, "since ", moment(began.toISOString())),
      open && run.expected_end ? `ETA ${leftOf(run)}` : "", `by ${run.triggered_by}`),
    tile("Cost", hours(run.trial_hours), run.gpu_hours ? `${hours(run.gpu_hours)} of GPUs` : "of trials",
      run.idle === null ? "" : `${percent(run.idle)} of the slots idle`),
  ];
};

const standing = run => {
  const said = [];
  if (run.stopping) said.push(el("p", {class: "notable"}, "Stopping: ", name(run.stopping, 400)));
  if (run.status !== "running" && run.reason) {
    const refused = run.status === "refused" ? "Refused: " : "Ended: ";
    const long = run.reason.length > 1000 ? {tabindex: "0", role: "region", "aria-label": "why it has ended"} : {};
    said.push(el("div", {class: run.status === "complete" ? "why-ended" : "why-ended notable", ...long},
      refused, ...lines(run.reason)));
  }
  if (run.constraints.length) said.push(note("Constraints: ", name(run.constraints.join(" · "), 400)));
  if (run.failures.length) said.push(failures(run));
  return said;
};
const lines = text => cut(text, 10000).split("\n").flatMap((line, at) =>
  at ? [el("br"), el("bdi", {}, line)] : [el("bdi", {}, line)]);

const failures = run => {
  const total = run.trials.failed ?? 0;
  const kinds = run.failures.map(one => el("li", {},
    badge("failed", (one.cause ?? "unknown").replaceAll("_", " ")), ` ${count(one.count, "trial")}: `,
    ...one.trials.flatMap((trial, at) => [at ? ", " : "", link(`trial?run=${run.id}&n=${trial}`, String(trial))]),
    one.count > one.trials.length ? " …" : "",
    el("p", {}, name(one.reason, 300)),
    one.line && !one.reason.includes(one.line) ? el("pre", {}, name(one.line, 400)) : ""));
  const most = run.trials.complete ? "details" : "section";
  if (most === "section") return section(`${count(total, "trial")} failed`, "failures", el("ul", {class: "failures"}, ...kinds));
  return el("details", {id: "failures"}, el("summary", {}, `${count(total, "trial")} failed`), el("ul", {class: "failures"}, ...kinds));
};

const rest = run => {
  const [best] = run.leading, found = [];
  if (run.model) found.push(section(`Model: version ${run.model.version}`, "model", ...modelParts(run.model),
    el("p", {class: "links"}, link(`champions?experiment=${encodeURIComponent(run.experiment)}`, "All models and champions"))));
  if (best) {
    const title = run.objectives.length > 1 ? "First on the front" : "Best trial";
    found.push(section(`${title}: ${best.number}`, "best",
      facts(Object.entries(best.params).map(([key, value]) => [name(key), name(number(value), 200)])),
      facts(Object.entries(best.metrics).map(([key, value]) => [name(key), number(value)]))));
  }
  if (run.advice.length) found.push(section("Earlier runs", "advice", el("ul", {},
    ...run.advice.map(one => el("li", {}, name(one, 400))))));
  found.push(section("What was done", "audit", el("ul", {class: "audit"}, ...run.audit.map(one =>
    el("li", {}, moment(one.time), " ", el("b", {}, one.deed), " by ", name(one.by, 80), one.told ? ": " : "", name(one.told, 300))))),
  run.status === "refused" ? "" : section("How it searches", "how", facts([
    ["sampler", run.sampler], ["seed", run.seed], ["backend", run.backend], ["at once", run.parallel_trials],
    ...Object.entries(run.fixed).map(([key, value]) => [name(`fixed ${key}`), name(number(value), 200)])])));
  return found;
};
