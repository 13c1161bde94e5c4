/* A table that the server filters, sorts and pages. */

import {el, replace, scrolling, whole} from "./dom.js";

/* `columns` are {key, title, sort, cell, num}; `state` is {sort, offset, limit}, which clicks change. */
export class Table {
  constructor(label, state, changed) {
    Object.assign(this, {label, state, changed});
    this.head = el("tr");
    this.body = el("tbody");
    this.pages = el("nav", {class: "pages", "aria-label": `Pages of ${label}`});
    this.element = el("div", {},
      scrolling(`table of ${label}`,
        el("table", {}, el("thead", {}, this.head), this.body)),
      this.pages);
  }

  show(columns, rows, total, {key, marked = () => false} = {}) {
    replace(this.head, ...columns.map(one => this.title(one)));
    replace(this.body, ...rows.map(row => el("tr", {class: marked(row) ? "marked" : null},
      ...columns.map(one => {
        const cell = one.cell(row), attributes = {class: one.num ? "num" : null};
        if (cell instanceof HTMLElement && key && !cell.dataset.key && cell.matches("a, input, button")) {
          cell.dataset.key = `${key(row)} ${one.key}`;
        }
        return el(one.head ? "th" : "td", one.head ? {...attributes, scope: "row"} : attributes, cell);
      }))));
    if (!rows.length) {
      this.body.append(el("tr", {}, el("td", {class: "none", colspan: columns.length}, "None.")));
    }
    this.showPages(total);
  }

  title(column) {
    const attributes = {scope: "col", class: column.num ? "num" : null, title: column.about ?? null};
    if (!column.sort) return el("th", attributes, column.title);
    const {sort} = this.state, key = sort.replace(/^-/, "");
    const now = key !== column.sort ? "none" : sort.startsWith("-") ? "descending" : "ascending";
    const arrow = {none: "", descending: " ↓", ascending: " ↑"}[now];
    const press = () => {
      const first = column.first ?? "";
      this.state.sort = now === "none" ? first + column.sort
        : now === "descending" ? column.sort : `-${column.sort}`;
      this.state.offset = 0;
      this.changed();
    };
    return el("th", {...attributes, "aria-sort": now},
      el("button", {type: "button", class: "sort", "data-key": `sort ${column.key}`, onclick: press},
        column.title, el("span", {"aria-hidden": "true"}, arrow)));
  }

  showPages(total) {
    const {offset, limit} = this.state, last = Math.min(offset + limit, total);
    const step = (words, to, key) => el("button", {type: "button", "data-key": key,
      disabled: to < 0 || to >= total || to === offset,
      onclick: () => { this.state.offset = to; this.changed(); }}, words);
    const far = Math.max(0, Math.floor((total - 1) / limit) * limit);
    replace(this.pages, ...(total > limit || offset
      ? [step("First", offset ? 0 : -1, "first"),
        step("Previous", offset - limit, "previous"),
        el("span", {}, `${whole(Math.min(offset + 1, total))} to ${whole(last)} of ${whole(total)}`),
        step("Next", offset + limit, "next"),
        step("Last", far, "last")]
      : [el("span", {}, total === 1 ? "1 in all" : `${whole(total)} in all`)]));
  }
}

/* Keeps what somebody has chosen in the page's address, so that it may be sent to others. */
export const remember = state => {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(state)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== "" && one !== null && one !== undefined) query.append(name, one);
    }
  }
  history.replaceState(null, "", `${location.pathname}?${query}`);
};

/* A field to search by, which waits until whoever types has stopped. */
export const searchField = (label, value, changed) => {
  let timer = 0;
  const input = el("input", {type: "search", value, oninput: () => {
    clearTimeout(timer);
    timer = setTimeout(() => changed(input.value.trim()), 300);
  }});
  return el("label", {}, el("span", {}, label), input);
};
export const choice = (label, options, value, changed) => {
  const made = el("select", {onchange: event => changed(event.target.value)},
    ...options.map(([key, words]) => el("option", {value: key, selected: key === value}, words)));
  return el("label", {}, el("span", {}, label), made);
};
