/* Draws the charts of a run.

   hpoCharts.draw(element, kind, data, options) draws one chart into an element, in place of what it
   had drawn there, and gives {update(data, options), resize(), dispose(), empty}. `kind` is one of
   hpoCharts.kinds, `data` the JSON document of hpo_lib/report/data.py. Options,
     all of them optional:
     dark       whether the page is dark; what the system prefers, if not given
     metric, x, y, ...   what the chart's own menus begin with: places in the document's lists
     controls   false hides the menus
     keep       {metric, most, least}: only trials with so much of a metric count
     onTrial    called with the number of a trial that was clicked
     onKeep     called with a new `keep`, or null, by the charts that set one
     onSelect   called with the numbers of the trials that were brushed, or null
   hpoCharts.applies(kind, data) says whether there is anything to draw. */
(() => {
"use strict";
const LIGHT = {page: "#ffffff", ink: "#1c2127", muted: "#626b76", line: "#e3e7ec", band: "#f6f7f9",
  complete: "#2f74b5", failed: "#c9501c", running: "#8b929b", waiting: "#8b929b",
  stopped: "#7d6fa8", best: "#00876c", target: "#9a6b00", broken: "#a1508f",
  ramp: ["#d9dee5", "#98b9d8", "#3f7fba", "#123f70"],
  both: ["#b5542a", "#e9b999", "#f4f4f4", "#9dc0e0", "#1f5d99"]};
const DARK = {page: "#14171b", ink: "#e4e7eb", muted: "#9aa3ae", line: "#2d333b", band: "#1c2026",
  complete: "#5aa5e0", failed: "#ee8250", running: "#878f99", waiting: "#878f99",
  stopped: "#a99be0", best: "#36c3a1", target: "#d9ab45", broken: "#d795c7",
  ramp: ["#2b323b", "#376186", "#5b9fd6", "#c4e2fb"],
  both: ["#f0946a", "#7d4a35", "#23282e", "#35608a", "#7db9ec"]};
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif";
// A grid's place holds its labels and names, too.
const WITHIN = {outerBoundsMode: "same", outerBoundsContain: "all"};
const known = new Map(), places = new WeakMap();

// Words --------------------------------------------------------------------------------------
const cut = (text, most) => {
  const whole = [...String(text)];
  return whole.length > most ? whole.slice(0, most - 1).join("") + "…" : String(text);
};
const num = (value, digits = 4) => {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (typeof value !== "number") return String(value);
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  if (Number.isInteger(value) && Math.abs(value) < 1e7) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) {
    return value.toExponential(digits - 1).replace(/\.?0+e/, "e").replace("e+", "e");
  }
  return String(Number(value.toPrecision(digits)));
};
const count = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
const time = seconds => {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  if (seconds < 9.95) return `${seconds.toFixed(1)}s`;
  const s = Math.round(seconds), two = n => String(n).padStart(2, "0");
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m ${two(s % 60)}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h ${two(Math.floor(s % 3600 / 60))}m`;
  return `${Math.floor(s / 86400)}d ${two(Math.floor(s % 86400 / 3600))}h`;
};

// The page: text goes in by textContent alone ------------------------------------------------
const el = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null) made.setAttribute(name, value);
  }
  made.append(...children.filter(child => child !== null));
  return made;
};
// What scrolls fades out where there is more.
const cued = element => {
  const tell = () => {
    const {scrollLeft, scrollTop, clientWidth, clientHeight, scrollWidth, scrollHeight} = element;
    element.classList.toggle("more-right", scrollLeft + clientWidth < scrollWidth - 1);
    element.classList.toggle("more-below", scrollTop + clientHeight < scrollHeight - 1);
  };
  element.addEventListener("scroll", tell, {passive: true});
  const seen = new ResizeObserver(tell);
  for (const one of [element, ...element.children]) seen.observe(one);
  return element;
};
const table = ({heads, rows}, name, most = 200) => {
  const cell = (tag, value) => {
    const text = typeof value === "number" ? num(value, 5) : String(value ?? "–");
    const kind = typeof value === "number" ? {class: "num"} : {};
    const long = text.length > 40 ? {title: text} : {};
    return el(tag, {...kind, ...long, ...(tag === "th" ? {scope: "col"} : {})}, cut(text, 40));
  };
  const body = rows.slice(0, most).map(row => el("tr", {}, ...row.map(v => cell("td", v))));
  const rest = rows.length - body.length;
  return el("div", {},
    cued(el("div", {class: "hpo-scroll", tabindex: "0", role: "region", "aria-label": name},
      el("table", {}, el("thead", {}, el("tr", {}, ...heads.map(head => cell("th", head)))),
        el("tbody", {}, ...body)))),
    rest > 0 ? el("p", {class: "hpo-note"}, `${count(rest, "more row")} not shown.`) : null);
};
const tip = (title, pairs) => el("div", {class: "hpo-tip"}, el("b", {}, title),
  ...pairs.map(([name, value]) => el("div", {}, el("span", {}, el("bdi", {}, cut(name, 80))), " ",
    el("bdi", {}, cut(typeof value === "number" ? num(value, 5) : value ?? "–", 80)))));

// Options that all charts share --------------------------------------------------------------
const axis = (theme, more = {}) => ({type: "value", scale: true, nameLocation: "middle",
  nameGap: 28, nameTextStyle: {color: theme.muted, fontSize: 12},
  axisLine: {show: false, lineStyle: {color: theme.line}}, axisTick: {show: false},
  splitLine: {lineStyle: {color: theme.line}}, splitNumber: 5,
  ...more,
  axisLabel: {color: theme.muted, fontSize: 11, hideOverlap: true, formatter: v => num(v),
    ...more.axisLabel}});
const base = theme => ({animation: false, backgroundColor: "transparent",
  textStyle: {fontFamily: FONT, color: theme.muted},
  grid: {left: 4, right: 16, top: 34, bottom: 4, ...WITHIN},
  legend: {type: "scroll", top: 0, left: 0, itemWidth: 14, itemHeight: 9,
    textStyle: {color: theme.ink, fontSize: 12}, pageTextStyle: {color: theme.muted},
    pageIconColor: theme.ink, pageIconInactiveColor: theme.line, inactiveColor: theme.muted},
  tooltip: {trigger: "item", confine: true, backgroundColor: theme.page, borderColor: theme.line,
    padding: 8, transitionDuration: 0, textStyle: {color: theme.ink, fontSize: 12}}});

// Drawing ------------------------------------------------------------------------------------
const prefersDark = () => matchMedia("(prefers-color-scheme: dark)").matches;
class Drawing {
  constructor(element, kind) {
    Object.assign(this, {element, kind, chosen: {}, chart: null, empty: true});
    this.observer = new ResizeObserver(() => this.resize());
  }
  update(data, options = this.options ?? {}) {
    if (!data.columns) data = hpoCharts.columns(data);
    Object.assign(this, {data, options});
    const {element, kind} = this;
    element.classList.add("hpo-chart");
    this.empty = !kind.applies(data);
    if (this.empty) return this.clear(el("p", {class: "hpo-note"}, kind.nothing));
    const dark = options.dark ?? prefersDark();
    const theme = dark ? DARK : LIGHT;
    const view = data.kept(options.keep);
    const every = kind.controls?.(view) ?? [];
    const controls = every.filter(one => one.options?.length !== 1);
    const settings = {...Object.fromEntries(every.map(one => [one.name, one.value])),
      ...options, ...this.chosen};
    const built = kind.build(view, settings, theme, this);
    this.built = built;
    this.frame(controls, settings, built);
    if (built.option) this.paint(built, theme);
    return this;
  }
  frame(controls, settings, built) {
    const shape = controls.map(one => one.name + "\0" + (one.options ?? []).join("\0")).join("\n");
    if (!this.parts || this.shape !== shape || !this.parts.box.isConnected) {
      this.clear();
      this.shape = shape;
      const menus = el("div", {class: "hpo-menus"},
        ...controls.map(one => this.menu(one, settings)));
      const box = el("div", {class: "hpo-canvas", role: "img"});
      const said = el("p", {class: "hpo-said"}), body = el("div");
      const opened = el("details", {class: "hpo-table"}, el("summary", {}, "as a table"), body);
      opened.addEventListener("toggle", () => this.tell());
      const outer = cued(el("div", {class: "hpo-wide"}, box));
      this.parts = {menus, box, said, body, opened, outer};
      this.element.append(menus, this.parts.outer, said, opened);
    }
    const {menus, box, said, opened, outer} = this.parts;
    menus.hidden = !controls.length || settings.controls === false;
    outer.hidden = !built.option;
    box.style.height = `${built.height ?? 320}px`;
    box.style.minWidth = built.minWidth ? `${built.minWidth}px` : "";
    if (built.minWidth) outer.tabIndex = 0;
    box.setAttribute("aria-label", `${this.kind.title}. ${built.sentence}`);
    said.replaceChildren(built.sentence);
    opened.hidden = !built.table;
    if (!built.option) opened.open = true;
    this.tell();
  }
  tell() {
    const {opened, body} = this.parts;
    if (opened.open && this.built.table) {
      body.replaceChildren(table(this.built.table(), `${this.kind.title}, as a table`));
    }
  }
  menu(one, settings) {
    const change = event => {
      const value = event.target.value;
      this.chosen[one.name] = one.number ? (value === "" ? null : Number(value)) : Number(value);
      one.changed?.(this.chosen[one.name], this);
      this.update(this.data, this.options);
    };
    const now = settings[one.name];
    const input = one.number
      ? el("input", {type: "number", step: "any", value: now ?? "", onchange: change})
      : el("select", {onchange: change}, ...one.options.map((name, place) =>
        el("option", {value: one.values ? one.values[place] : place, title: name,
          selected: (one.values ? one.values[place] : place) === now}, cut(name, 40))));
    return el("label", {}, one.label, " ", input);
  }
  paint(built, theme) {
    const {box} = this.parts;
    if (!this.chart) {
      this.chart = echarts.init(box, null, {renderer: "canvas"});
      this.observer.observe(box);
      this.chart.on("click", event => {
        const row = this.built.rowOf?.(event);
        if (row !== undefined && row !== null) this.options.onTrial?.(this.data.number[row]);
      });
      this.chart.on("mouseover", event => { box.title = this.hint(event); });
      this.chart.on("mouseout", () => { box.title = ""; });
      this.chart.on("axisareaselected", () => this.built.brushed?.(this.chart));
    }
    if (this.chart.getWidth() !== box.clientWidth || this.chart.getHeight() !== box.clientHeight) {
      this.chart.resize();
    }
    const shared = base(theme), {option} = built;
    const tooltip = {...shared.tooltip, ...option.tooltip};
    const legend = option.legend === null ? undefined : {...shared.legend, ...option.legend};
    const grid = option.grid === null ? undefined : option.grid ?? shared.grid;
    this.chart.setOption({...shared, ...option, tooltip, legend, grid}, {notMerge: true});
  }
  // What a pointer shows that has no box of its own: a name that was cut, the trial of a line.
  hint(event) {
    if (event.componentType.endsWith("xis")) return this.built.wholeOf?.(event) ?? "";
    const row = event.seriesType === "line" ? this.built.rowOf?.(event) : undefined;
    return Number.isInteger(row) ? this.data.named(row) : "";
  }
  resize() {
    if (!this.chart || !this.parts.box.clientWidth) return;
    if (this.built.wide && this.built.wide !== this.parts.box.clientWidth) this.update(this.data);
    else this.chart.resize();
  }
  clear(...children) {
    this.observer.disconnect();
    this.chart?.dispose();
    this.chart = this.parts = null;
    this.element.replaceChildren(...children);
    return this;
  }
  dispose() {
    this.clear();
    places.delete(this.element);
  }
}

window.hpoCharts = {
  kinds: [],
  titles: {},
  broad: new Set(), // kinds that want the whole width
  applies: (kind, data) => {
    const found = known.get(kind);
    return Boolean(found?.applies(data.columns ? data : hpoCharts.columns(data)));
  },
  draw(element, kind, data, options = {}) {
    if (!known.has(kind)) throw new Error(`unknown kind of chart '${kind}'; known: ${this.kinds}`);
    let drawing = places.get(element);
    if (drawing && drawing.kind !== known.get(kind)) drawing.dispose(), drawing = null;
    drawing ??= new Drawing(element, known.get(kind));
    places.set(element, drawing);
    return drawing.update(data, options);
  },
  add(name, kind) {
    known.set(name, {nothing: "There is nothing to draw yet.", applies: () => true, ...kind});
    this.kinds.push(name);
    this.titles[name] = kind.title;
    if (kind.broad) this.broad.add(name);
  },
  tools: {cut, num, count, time, el, table, tip, axis, cued, WITHIN},
};
})();
