/* Starts the view that the page is for, below what all pages have at their top. */

import {el, link, note} from "./dom.js";
import {tell} from "./api.js";
import {followTheme} from "./frame.js";

const root = document.documentElement, view = root.dataset.view;
const NAMES = {experiments: "Experiments", runs: "Runs", compare: "Compare"};

const top = () => {
  const links = Object.entries(NAMES).map(([name, words]) => {
    const made = link(name, words);
    if (name === view) made.setAttribute("aria-current", "page");
    return el("li", {}, made);
  });
  document.getElementById("top").append(
    el("nav", {"aria-label": "Hyperparameter tuning"}, el("ul", {}, ...links)));
};

followTheme(() => document.dispatchEvent(new Event("theme")));
top();
const main = document.getElementById("main");
try {
  const {show} = await import(`./${view}.js`);
  await show(main, new URLSearchParams(location.search));
} catch (error) {
  main.replaceChildren(note("Nothing to show."));
  tell(error);
}
