/* What to do next, as the report says it; it takes the server seconds, so somebody has to ask. */

import {el, name, note, section} from "./dom.js";
import {get, tell} from "./api.js";
import {again} from "./actions.js";

const GROUPS = {mattered: "What mattered", edges: "Where the bounds cut", more: "More trials",
  resources: "Resources", unsure: "What is unsure"};

export class Advice {
  constructor(run, drawings) {
    Object.assign(this, {run, drawings, asked: false});
    this.body = el("div", {}, el("button", {type: "button", onclick: () => this.ask()}, "Work it out"));
    this.element = section("What to do next", "next", this.body);
    this.observer = new IntersectionObserver(found => {
      if (found.some(one => one.isIntersecting)) this.ask();
    });
  }

  /* Of a run that has ended it is worked out as soon as somebody gets there. */
  update(run) {
    this.run = run;
    if (run.status !== "running" && !this.asked) this.observer.observe(this.element);
  }

  async ask() {
    if (this.asked) return;
    this.asked = true;
    this.observer.disconnect();
    this.body.replaceChildren(note("This takes some seconds …"));
    try {
      const found = await get(`runs/${this.run.id}/advice`);
      this.body.replaceChildren(...this.parts(found));
      this.drawings.add({importance: found.importance});
    } catch (error) {
      this.asked = false;
      this.body.replaceChildren(el("button", {type: "button", onclick: () => this.ask()}, "Work it out"));
      tell(error);
    }
  }

  parts(found) {
    const said = Object.entries(GROUPS).filter(([key]) => found[key].length).map(([key, words]) =>
      el("div", {}, el("h3", {}, words), ...found[key].map(one => el("p", {}, name(one, 1000)))));
    if (found.narrower) said.push(this.narrower(found.narrower));
    return said.length ? said : [note("There are too few trials to say anything.")];
  }

  narrower({space, changes, yaml}) {
    const listed = Object.entries(changes).map(([key, words]) => el("li", {}, name(`${key}: ${words}`, 300)));
    const use = () => again(this.run, spec => ({...spec, space}));
    return el("div", {}, el("h3", {}, "A narrower space for a run that follows"), el("ul", {}, ...listed),
      this.run.may.submit ? el("p", {class: "buttons"}, el("button", {type: "button", onclick: use}, "Run again, narrower …")) : "",
      el("details", {}, el("summary", {}, "as YAML"), el("pre", {tabindex: "0"}, yaml)));
  }
}
