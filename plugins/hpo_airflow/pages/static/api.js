/* Asks the REST API of the plugin: what a page shows, any client can read. */

import {el} from "./dom.js";

const ROOT = new URL("../api/v1/", document.baseURI);
const known = new Map();
const FIRST_S = 3, LONGEST_S = 600, FAILED_S = 5, MOST_KNOWN = 12;

export class Refused extends Error {
  constructor(status, told) {
    super(told.detail ?? `Airflow answers ${status}.`);
    this.status = status;
    this.problems = told.problems ?? [];
  }
}

export const address = (path, query = {}) => {
  const found = new URL(path.replace(/^\//, ""), ROOT);
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") found.searchParams.append(name, one);
    }
  }
  return found;
};

const refusal = async answer => {
  const told = await answer.json().catch(() => ({}));
  return new Refused(answer.status, told);
};

/* What is there, with whether it is new since the last time, and for how long not to ask again. */
export const look = async (path, query = {}) => {
  const where = address(path, query).href, before = known.get(where);
  const headers = before ? {"If-None-Match": before.tag} : {};
  const answer = await fetch(where, {headers, credentials: "same-origin", cache: "no-store"});
  const fresh = Number(answer.headers.get("HPO-Fresh-S")) || FIRST_S;
  if (answer.status === 304) return {data: before.data, changed: false, fresh};
  if (!answer.ok) throw await refusal(answer);
  const data = await answer.json(), tag = answer.headers.get("ETag");
  known.delete(where);
  if (tag) known.set(where, {tag, data});
  if (known.size > MOST_KNOWN) known.delete(known.keys().next().value);
  return {data, changed: true, fresh};
};
export const get = async (path, query = {}) => (await look(path, query)).data;

export const post = async (path, body, query = {}) => {
  const answer = await fetch(address(path, query), {
    method: "POST",
    credentials: "same-origin",
    headers: body === undefined ? {} : {"Content-Type": "application/json"},
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!answer.ok) throw await refusal(answer);
  return answer.json();
};

/* Asks now and then while somebody looks, as rarely as the answer says; `once` makes it now. */
export const follow = work => {
  let timer = 0, going = null, again = false;
  const step = async () => {
    clearTimeout(timer);
    if (going) { again = true; return going; }
    going = work().catch(error => { tell(error); return FAILED_S; });
    const wait = await going;
    going = null;
    if (again) { again = false; return step(); }
    if (wait !== null && !document.hidden) timer = setTimeout(step, 1000 * Math.min(wait, LONGEST_S));
    return wait;
  };
  document.addEventListener("visibilitychange", () => { if (!document.hidden) step(); });
  step();
  return step;
};

/* Says what went wrong where everybody finds it; without an error it is taken away. */
export const tell = error => {
  const place = document.getElementById("said");
  if (!error) return place.querySelector(".trouble")?.remove();
  const lost = error instanceof TypeError;
  const words = lost ? "Airflow does not answer; this page asks again." : error.message;
  const problems = (error.problems ?? []).filter(one => one !== error.message);
  place.replaceChildren(el("div", {class: "trouble"}, el("p", {}, words),
    problems.length > 1 ? el("ul", {}, ...problems.map(one => el("li", {}, one))) : null,
    error.status === 401 ? el("p", {}, "Log in to Airflow, and load this page again.") : null));
};
export const say = words => {
  const place = document.getElementById("said");
  place.replaceChildren(el("div", {class: "done"}, el("p", {}, words)));
  setTimeout(() => place.querySelector(".done")?.remove(), 8000);
};
