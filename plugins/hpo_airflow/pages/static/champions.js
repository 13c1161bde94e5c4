/* The models of an experiment: which was champion when, by which verdict, and how its data drifts. */

import {badge, el, link, moment, name, note, section} from "./dom.js";
import {get} from "./api.js";
import {drawLines} from "./lines.js";
import {modelParts} from "./models.js";

export const show = async (main, query) => {
  const experiment = query.get("experiment") ?? "";
  document.title = `Models of ${experiment}`;
  const found = await get(`experiments/${encodeURIComponent(experiment)}/champions`);
  const history = found.models.length ? [score(found), events(found), ...found.models.map(model => version(model, found.champion))]
    : [note("This experiment has no models: its spec has no `final`, or no run has got there yet.")];
  main.replaceChildren(el("h1", {}, "Models of ", name(experiment)),
    el("p", {class: "links"}, link(`runs?experiment=${encodeURIComponent(experiment)}`, "Its runs")), ...history.filter(one => one));
};

const version = (model, champion) => el("details", {class: "model", open: model.version === champion || model.awaits_approval},
  el("summary", {}, `Version ${model.version} `, badge(model.status), ` of run ${model.run}`),
  ...modelParts(model));

/* What each champion scored when it was made and when it was checked, by run. */
const score = found => {
  const lines = found.models.filter(one => one.checks.some(each => each.now !== null)).map(model => {
    const [first] = model.checks, made = first.then === null ? [] : [[model.run, first.then]];
    return {name: `version ${model.version}`, points: [...made, ...model.checks.filter(one => one.now !== null).map(one => [one.run, one.now])]};
  });
  if (!lines.length) return null;
  const {metric} = found.models.find(one => one.checks.length).checks[0];
  return section("Champions on later data", "drift", drawLines(lines, {x: "run", y: metric, whole: true,
    label: `${metric} of champions when they were made and when later runs checked them`}));
};
const events = found => section("What became of them", "events", el("ul", {class: "audit"},
  ...[...found.events].reverse().slice(0, 60).map(one => el("li", {}, moment(one.time), " version ", String(one.version), " ",
    badge(one.status), " ", name(one.reason, 400)))));
