/* The charts of a run, drawn by what draws them in its report, each once somebody scrolls to it. */

import {el, note, section} from "./dom.js";
import {look} from "./api.js";
import {isDark} from "./frame.js";

const root = document.documentElement;
let loading = null;
const loaded = () => loading ??= new Promise((done, failed) => {
  const script = el("script", {src: `${root.dataset.assets}/charts.js`, onload: () => done(window.hpoCharts),
    onerror: () => failed(new Error("The program that draws charts cannot be loaded: load this page again."))});
  document.head.append(script);
});

export class Drawings {
  constructor(run) {
    this.run = run;
    this.body = el("div", {class: "charts"});
    this.element = section("Charts", "charts", this.body);
    this.places = new Map();
    this.seen = new Set();
    this.due = 0;
    this.observer = new IntersectionObserver(found => {
      for (const one of found.filter(each => each.isIntersecting)) {
        this.seen.add(one.target.dataset.kind);
        this.draw(one.target.dataset.kind);
      }
    }, {rootMargin: "300px"});
    document.addEventListener("theme", () => this.drawAll());
  }

  /* Asks for the document as often as it is worth it, and draws again what is on the page. */
  async update() {
    if (performance.now() < this.due) return;
    const [charts, {data, changed, fresh}] =
      await Promise.all([loaded(), look(`runs/${this.run.id}/charts`)]);
    this.due = performance.now() + 1000 * fresh;
    if (!changed && this.data) return;
    Object.assign(this, {charts, data: {...data, ...this.more}});
    this.place();
    this.drawAll();
  }

  /* Takes parts of the document that were asked for later. */
  add(more) {
    this.more = more;
    if (!this.data) return;
    this.data = {...this.data, ...more};
    this.place();
    this.drawAll();
  }

  place() {
    const kinds = this.charts.kinds.filter(kind => this.charts.applies(kind, this.data));
    for (const kind of kinds) {
      if (this.places.has(kind)) continue;
      const place = el("div", {class: "drawing", "data-kind": kind});
      this.places.set(kind, place);
      const title = this.charts.titles?.[kind] ?? kind;
      this.body.append(el("section", {class: this.charts.broad.has(kind) ? "chart broad" : "chart", id: `chart-${kind}`, "aria-labelledby": `chart-${kind}-title`},
        el("h3", {id: `chart-${kind}-title`}, title), place));
      this.observer.observe(place);
    }
    this.body.querySelector(".note")?.remove();
    if (!this.places.size) this.body.append(note("There is nothing to draw yet."));
  }

  drawAll() { for (const kind of this.seen) this.draw(kind); }

  draw(kind) {
    const {run, keep} = this;
    this.charts?.draw(this.places.get(kind), kind, this.data, {
      dark: isDark(),
      keep,
      onTrial: number => { location.href = `trial?run=${run.id}&n=${number}`; },
      onKeep: chosen => { this.keep = chosen; this.drawAll(); },
    });
  }
}
