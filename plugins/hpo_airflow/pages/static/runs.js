/* Runs, of all experiments or of one: search, filter, sort, and choose some to compare. */

import {el, link, name, count} from "./dom.js";
import {follow, get, tell} from "./api.js";
import {RUN_COLUMNS} from "./rows.js";
import {Table, choice, remember, searchField} from "./table.js";

const STATES = [["", "any"], ["running", "running"], ["complete", "complete"], ["failed", "failed"],
  ["refused", "refused"]];

export const show = async (main, query) => {
  const state = {
    search: query.get("search") ?? "",
    experiment: query.get("experiment") ?? "",
    status: query.get("status") ?? "",
    sort: query.get("sort") ?? "-id",
    offset: Number(query.get("offset")) || 0,
    limit: 50,
  };
  const chosen = new Set();
  const title = state.experiment ? `Runs of ${state.experiment}` : "Runs";
  document.title = title;

  const compare = el("a", {class: "button", href: "compare"}, "Compare");
  const tick = () => {
    compare.hidden = chosen.size < 2;
    compare.textContent = `Compare ${count(chosen.size, "run")}`;
    compare.href = `compare?${[...chosen].map(one => `run=${one}`).join("&")}`;
  };
  const box = {key: "choose", title: "Compare", cell: run => el("input", {type: "checkbox",
    "aria-label": `compare run ${run.id}`, checked: chosen.has(run.id), onchange: event => {
      event.target.checked ? chosen.add(run.id) : chosen.delete(run.id);
      tick();
    }})};

  const table = new Table("runs", state, () => { remember(state); again(); });
  const change = (key, value) => { state[key] = value; state.offset = 0; remember(state); again(); };
  const load = async () => {
    const {runs, total} = await get("overview/runs", state);
    tell(null);
    const columns = state.experiment ? RUN_COLUMNS.filter(one => one.key !== "experiment") : RUN_COLUMNS;
    table.show([box, ...columns], runs, total, {key: run => run.id});
    return runs.some(run => run.status === "running") ? 5 : 30;
  };
  main.replaceChildren(
    el("h1", {}, state.experiment ? ["Runs of ", name(state.experiment)] : "Runs"),
    state.experiment ? el("p", {class: "links"}, link("runs", "All runs"),
      link(`champions?experiment=${encodeURIComponent(state.experiment)}`, "Its models and champions")) : "",
    el("div", {class: "filters"},
      searchField("Search", state.search, value => change("search", value)),
      choice("State", STATES, state.status, value => change("status", value)), compare),
    table.element);
  tick();
  const again = follow(load);
};
