/* Elements and words. What anybody has said gets onto a page as text alone: never as markup. */

const NUMBERS = new Intl.NumberFormat("en");
const DAY = new Intl.DateTimeFormat(undefined, {dateStyle: "medium", timeStyle: "short"});
const TIME = new Intl.DateTimeFormat(undefined, {timeStyle: "medium"});
const SVG = "http://www.w3.org/2000/svg";
export const NOTHING = "–";
const LONGEST = 1000;

const put = (made, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.flat().filter(child => child !== null && child !== undefined));
  return made;
};
export const el = (tag, attributes = {}, ...children) =>
  put(document.createElement(tag), attributes, children);
export const svg = (tag, attributes = {}, ...children) =>
  put(document.createElementNS(SVG, tag), attributes, children);

export const cut = (text, most) => {
  const letters = [...String(text)];
  return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : String(text);
};

/* A name of any origin: cut where it is long, whole to whoever points at it, in its own direction. */
export const name = (text, most = 60) => {
  const whole = String(text), shown = cut(whole, most);
  return el("bdi", shown === whole ? {} : {title: cut(whole, LONGEST)}, shown);
};

export const whole = value => NUMBERS.format(value);
export const count = (value, noun) => `${whole(value)} ${noun}${value === 1 ? "" : "s"}`;
export const percent = share => share === null ? NOTHING : `${Math.round(share * 100)} %`;

export const number = (value, digits = 5) => {
  if (value === null || value === undefined) return NOTHING;
  if (typeof value === "boolean") return String(value);
  if (typeof value === "object") return JSON.stringify(value);
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e7) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) {
    return value.toExponential(digits - 1).replace(/\.?0*e\+?/, "e");
  }
  return String(Number(value.toPrecision(digits)));
};

export const duration = seconds => {
  if (seconds === null || !Number.isFinite(seconds)) return NOTHING;
  const two = value => String(value).padStart(2, "0");
  if (seconds < 9.95) return `${Math.max(seconds, 0).toFixed(1)}s`;
  const all = Math.round(seconds);
  if (all < 60) return `${all}s`;
  if (all < 3600) return `${Math.floor(all / 60)}m ${two(all % 60)}s`;
  if (all < 86400) return `${Math.floor(all / 3600)}h ${two(Math.floor(all % 3600 / 60))}m`;
  return `${Math.floor(all / 86400)}d ${two(Math.floor(all % 86400 / 3600))}h`;
};
export const hours = value => value === 0 ? "0 h" : value < 0.1 ? duration(value * 3600)
  : `${number(value, 3)} h`;

export const moment = text => text ? el("time", {datetime: text, title: text},
  DAY.format(new Date(text))) : NOTHING;
export const clock = date => TIME.format(date);

export const badge = (state, words = state) => el("span", {class: `state ${state}`}, words);
export const note = (...words) => el("p", {class: "note"}, ...words);
export const link = (href, ...words) => el("a", {href}, ...words);

export const section = (title, id, ...children) =>
  el("section", {id, "aria-labelledby": `${id}-title`},
    el("h2", {id: `${id}-title`}, title), ...children);

/* What scrolls by itself, and fades out where there is more. */
export const scrolling = (label, ...children) => {
  const made = el("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": label}, ...children);
  const tell = () => {
    made.classList.toggle("more-right", made.scrollLeft + made.clientWidth < made.scrollWidth - 1);
    made.classList.toggle("more-below", made.scrollTop + made.clientHeight < made.scrollHeight - 1);
  };
  made.addEventListener("scroll", tell, {passive: true});
  const seen = new ResizeObserver(tell);
  for (const one of [made, ...made.children]) seen.observe(one);
  return made;
};

/* Pairs of a word and what it stands for. */
export const facts = pairs => el("dl", {class: "facts"}, ...pairs
  .filter(([, value]) => value !== null && value !== undefined && value !== "")
  .map(([term, value]) => el("div", {}, el("dt", {}, term), el("dd", {}, value))));

export const tile = (head, figure, ...notes) => el("div", {class: "tile"},
  el("h2", {}, head), el("p", {class: "figure"}, figure),
  ...notes.filter(one => one).map(one => one instanceof Node ? one : note(one)));

/* A bar of shares by state, which the words beside it say too. */
export const bar = (shares, total) => {
  const filled = Object.entries(shares).filter(([, value]) => value > 0);
  const made = el("span", {class: "bar", "aria-hidden": "true"});
  for (const [state, value] of filled) {
    const part = el("i", {class: state});
    part.style.width = `${100 * value / Math.max(total, 1)}%`;
    made.append(part);
  }
  return made;
};

/* Puts rows in the place of others; what has the focus keeps it, found by its data-key. */
export const replace = (place, ...children) => {
  const key = place.contains(document.activeElement) && document.activeElement.dataset.key;
  place.replaceChildren(...children.filter(child => child !== null));
  if (key) place.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({preventScroll: true});
};
