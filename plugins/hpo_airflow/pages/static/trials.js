/* The trials of a run: any page of any order, by conditions, with the columns of one's choice. */

import {badge, cut, duration, el, link, moment, name, number, replace, NOTHING} from "./dom.js";
import {look, tell} from "./api.js";
import {Table, remember} from "./table.js";

const STATES = ["running", "waiting", "complete", "stopped", "failed"];
const SIGNS = ["<=", ">=", "=", "!=", "~", "<", ">"];
const SAID = {"~": "contains", "<=": "≤", ">=": "≥", "!=": "≠"};
const OWN = [["number", "Trial"], ["state", "State"], ["value", "Value"], ["duration_s", "Took"],
  ["started_at", "Began"], ["ended_at", "Ended"], ["attempts", "Attempts"], ["origin", "Origin"],
  ["slot", "Slot"], ["cause", "Cause"], ["reason", "Reason"]];
const FIXED = new Set(["number", "state", "value"]), FIRST = 6;

export class Trials {
  constructor(run, query) {
    this.run = run;
    this.state = {sort: query.get("sort") ?? this.bestFirst(), offset: Number(query.get("offset")) || 0,
      limit: 50, state: query.getAll("state"), where: query.getAll("where"), final: ""};
    this.table = new Table("trials", this.state, () => this.changed());
    this.chips = el("ul", {class: "chips", "aria-label": "conditions"});
    this.tools = el("div", {class: "filters"});
    this.element = el("div", {}, this.tools, this.chips, this.table.element);
    this.names = "";
  }

  bestFirst() {
    const {objectives} = this.run;
    if (objectives.length !== 1 || !objectives[0].direction) return "number";
    return objectives[0].direction === "maximize" ? "-value" : "value";
  }

  /* Every column that there is, by its key. */
  all() {
    const {params, metrics, objectives} = this.run, first = objectives[0].metric;
    return [
      ...OWN.map(([key, words]) => [key, key === "value" ? first : words]),
      ...params.map(one => [`params.${one}`, one]),
      ...metrics.filter(one => one !== first).map(one => [`metrics.${one}`, one]),
    ];
  }

  get stored() { return `hpo columns ${this.run.experiment}`; }
  chosen() {
    try {
      const kept = JSON.parse(localStorage.getItem(this.stored));
      if (Array.isArray(kept)) return new Set(kept);
    } catch { /* nothing is kept, or nothing may be */ }
    const {params, metrics, objectives} = this.run;
    return new Set([...params.slice(0, FIRST).map(one => `params.${one}`), "duration_s",
      ...metrics.filter(one => one !== objectives[0].metric).slice(0, 3).map(one => `metrics.${one}`)]);
  }
  choose(key, shown) {
    const kept = this.chosen();
    shown ? kept.add(key) : kept.delete(key);
    try { localStorage.setItem(this.stored, JSON.stringify([...kept])); } catch { /* not to be kept */ }
    this.load().catch(tell);
  }

  changed() {
    const {run, table, state} = this;
    remember({id: run.id, sort: state.sort, offset: state.offset || "", state: state.state, where: state.where});
    this.showChips();
    return this.load().then(() => tell(null), tell);
  }

  update(run) {
    this.run = run;
    const names = JSON.stringify([run.params, run.metrics]);
    if (names !== this.names) {
      this.names = names;
      this.showTools();
      this.showChips();
    }
    return this.load();
  }

  showTools() {
    const columns = this.all(), numbers = columns.filter(([key]) => key !== "number");
    const states = el("fieldset", {class: "ticks"}, el("legend", {}, "State"), ...STATES.map(one =>
      el("label", {}, el("input", {type: "checkbox", checked: this.state.state.includes(one),
        onchange: event => {
          const {state} = this.state;
          this.state.state = event.target.checked ? [...state, one] : state.filter(each => each !== one);
          this.state.offset = 0;
          this.changed();
        }}), one)));
    const column = el("select", {"aria-label": "column"},
      ...numbers.map(([key, words]) => el("option", {value: key}, cut(words, 40))));
    const sign = el("select", {"aria-label": "how it compares"},
      ...SIGNS.map(one => el("option", {value: one}, SAID[one] ?? one)));
    const value = el("input", {"aria-label": "value", size: 10});
    const add = () => {
      if (!value.value.trim()) return value.focus();
      this.state.where = [...this.state.where, `${column.value} ${sign.value} ${value.value.trim()}`];
      this.state.offset = 0;
      value.value = "";
      this.changed();
    };
    value.addEventListener("keydown", event => { if (event.key === "Enter") add(); });
    const kept = this.chosen();
    const ticks = columns.filter(([key]) => !FIXED.has(key)).map(([key, words]) =>
      el("label", {}, el("input", {type: "checkbox", checked: kept.has(key),
        onchange: event => this.choose(key, event.target.checked)}), name(words, 40)));
    replace(this.tools, states,
      el("span", {class: "condition"}, column, sign, value,
        el("button", {type: "button", onclick: add}, "Filter")),
      el("details", {class: "columns"}, el("summary", {}, "Columns"), el("div", {class: "ticks"}, ...ticks)));
  }

  showChips() {
    this.chips.hidden = !this.state.where.length;
    replace(this.chips, ...this.state.where.map((one, at) => el("li", {}, name(one.replace(/^(params|metrics)\./, ""), 60),
      el("button", {type: "button", "aria-label": `take away the condition ${one}`, onclick: () => {
        this.state.where = this.state.where.filter((_, place) => place !== at);
        this.state.offset = 0;
        this.changed();
      }}, "×"))));
  }

  async load() {
    const kept = this.chosen();
    const columns = this.all().filter(([key]) => FIXED.has(key) || kept.has(key));
    const asked = {...this.state, columns: columns.map(([key]) => key)};
    const {data, changed, fresh} = await look(`runs/${this.run.id}/table`, asked);
    const shape = JSON.stringify(asked);
    if (changed || shape !== this.shape) this.show(columns, data);
    this.shape = shape;
    return fresh;
  }

  show(columns, {rows, feasible, total}) {
    const leading = new Set(this.run.leading.map(one => one.number));
    const order = new Map(rows.map((row, at) => [row[0], at]));
    const isNumber = at => rows.some(row => typeof row[at] === "number");
    this.table.show(columns.map(([key, words], at) => ({
      key, sort: key, title: name(words, 24), num: isNumber(at) && key !== "number",
      head: key === "number", first: key === "value" && this.bestFirst().startsWith("-") ? "-" : "",
      cell: row => this.cell(key, row[at], feasible[order.get(row[0])]),
    })), rows, total, {key: row => row[0], marked: row => leading.has(row[0])});
  }

  cell(key, value, feasible) {
    if (key === "number") return link(`trial?run=${this.run.id}&n=${value}`, String(value));
    if (key === "state") return badge(value);
    if (value === null) return NOTHING;
    if (key === "duration_s") return duration(value);
    if (key === "started_at" || key === "ended_at") return moment(value);
    if (key === "value" && feasible === false) {
      return el("span", {title: "it breaks a constraint"}, `${number(value)} ○`);
    }
    return typeof value === "number" ? number(value) : name(number(value), 40);
  }
}
