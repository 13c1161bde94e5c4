/* What there is to say of a model: its verdict, its checks, and who has approved it. */

import {badge, el, facts, link, moment, name, note, number, scrolling, NOTHING} from "./dom.js";

export const modelParts = model => [
  el("p", {}, badge(model.status), " ", name(model.reason, 2000)),
  ...judged(model),
  ...(model.verdict?.broken ?? []).map(one => el("p", {class: "notable"}, name(one, 400))),
  facts([
    ["improvement", model.verdict?.improvement === null || !model.verdict ? null
      : `${number(model.verdict.improvement)}${model.verdict.error === null ? "" : ` ± ${number(model.verdict.error)}`}`],
    ["compared with", model.against ? `version ${model.against}` : null],
    ["approved", model.approved],
    ["serves", model.served ? "seen serving well" : null],
    ["found by", el("span", {}, link(`trial?run=${model.run}&n=${model.trial}`, `trial ${model.trial}`), " of ",
      link(`run?id=${model.run}`, `run ${model.run}`))],
    ["made", moment(model.created_at)],
    ...Object.entries(model.metrics).map(([key, value]) => [name(key), number(value)]),
    ...Object.entries(model.params).map(([key, value]) => [name(key), name(number(value), 200)]),
  ]),
  ...model.awaits_approval ? [el("p", {class: "notable"}, "It waits to be approved.")] : [],
  ...checks(model),
];

/* The verdict, unless it is the reason for what the model is. */
const judged = ({verdict, reason}) => {
  if (!verdict) return [note("The gate has not judged it yet.")];
  const {promote, reason: why} = verdict;
  return why === reason ? [] : [el("p", {class: promote ? "" : "notable"}, name(why, 2000))];
};

const checks = model => {
  if (!model.checks.length) return [];
  const rows = model.checks.map(one => el("tr", {},
    el("th", {scope: "row"}, link(`run?id=${one.run}`, `#${one.run}`)), el("td", {}, moment(one.time)),
    el("td", {class: "num"}, one.then === null ? NOTHING : number(one.then)),
    el("td", {class: "num"}, one.now === null ? NOTHING : number(one.now)),
    el("td", {class: "words"}, ...one.sentences.map(each => el("p", {}, name(each, 600))))));
  const heads = ["run", "when", `${model.checks[0].metric} then`, "now", "what has changed"];
  return [el("h3", {}, "Checked since, and how its data has drifted"),
    scrolling(`checks of version ${model.version}`,
      el("table", {}, el("thead", {}, el("tr", {}, ...heads.map(one => el("th", {scope: "col"}, one)))),
        el("tbody", {}, ...rows)))];
};
