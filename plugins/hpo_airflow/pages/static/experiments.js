/* Experiments, each with its newest run. */

import {el, link, moment, name, whole, NOTHING} from "./dom.js";
import {follow, get, tell} from "./api.js";
import {bestOf, leftOf, progressOf, runLink, stateOf} from "./rows.js";
import {Table, remember, searchField} from "./table.js";

const of = text => encodeURIComponent(text);
const COLUMNS = [
  {key: "name", title: "Experiment", sort: "experiment", head: true,
    cell: one => link(`runs?experiment=${of(one.name)}`, name(one.name))},
  {key: "runs", title: "Runs", num: true, cell: one => one.running
    ? `${whole(one.runs)} (${whole(one.running)} running)` : whole(one.runs)},
  {key: "newest", title: "Newest run", sort: "newest", first: "-", cell: one => runLink(one.newest)},
  {key: "state", title: "State", cell: one => stateOf(one.newest)},
  {key: "best", title: "Best", num: true, cell: one => el("span",
    {title: one.newest.objectives.map(each => each.metric).join(", ")}, bestOf(one.newest))},
  {key: "progress", title: "Trials", cell: one => progressOf(one.newest)},
  {key: "left", title: "ETA", num: true, cell: one => leftOf(one.newest)},
  {key: "champion", title: "Champion", cell: one => one.champion
    ? link(`champions?experiment=${of(one.name)}`, `version ${one.champion}`) : NOTHING},
  {key: "who", title: "By", cell: one => name(one.newest.triggered_by, 24)},
  {key: "began", title: "Began", cell: one => moment(one.newest.started_at)},
];

export const show = async (main, query) => {
  const state = {search: query.get("search") ?? "", sort: query.get("sort") ?? "-newest",
    offset: Number(query.get("offset")) || 0, limit: 50};
  document.title = "Experiments";
  const table = new Table("experiments", state, () => { remember(state); again(); });
  const load = async () => {
    const {experiments, total} = await get("overview/experiments", state);
    tell(null);
    table.show(COLUMNS, experiments, total, {key: one => one.name});
    return experiments.some(one => one.running) ? 5 : 30;
  };
  main.replaceChildren(el("h1", {}, "Experiments"),
    el("div", {class: "filters"}, searchField("Search", state.search, value => {
      state.search = value;
      state.offset = 0;
      remember(state);
      again();
    })), table.element);
  const again = follow(load);
};
