/* What people may do to a run, each after a question that says what will happen. */

import {count, el, note} from "./dom.js";
import {get, post, say} from "./api.js";
import {airflow, leave} from "./frame.js";

/* Asks in a dialog; `act` says what was done, or raises why it was not, which stays in the dialog. */
const ask = (title, parts, words, act) => {
  const trouble = el("div", {role: "alert"});
  const yes = el("button", {type: "button", class: "primary"}, words);
  const no = el("button", {type: "button", onclick: () => box.close()}, "Leave it");
  const box = el("dialog", {"aria-labelledby": "asked", onclose: () => box.remove()},
    el("h2", {id: "asked"}, title), ...parts, trouble, el("p", {class: "buttons"}, yes, no));
  yes.addEventListener("click", async () => {
    yes.disabled = true;
    trouble.replaceChildren();
    try {
      const said = await act();
      box.close();
      say(said);
      document.dispatchEvent(new Event("acted"));
    } catch (error) {
      const problems = error.problems?.length ? error.problems : [error.message];
      trouble.replaceChildren(el("ul", {class: "trouble"}, ...problems.map(one => el("li", {}, one))));
    }
    yes.disabled = false;
  });
  document.body.append(box);
  box.showModal();
  return box;
};
const field = (label, input) => el("label", {class: "field"}, el("span", {}, label), input);

export const stopRun = run => ask(`Stop run ${run.id}?`,
  [note("No trial begins any more, those that run are stopped, and a report follows. "
    + "What they have shown until then is kept, and the run can be extended later.")],
  "Stop the run", async () => {
    await post(`runs/${run.id}/stop`);
    return `Run ${run.id} is being stopped.`;
  });

export const stopTrial = (run, trial) => ask(`Stop trial ${trial}?`,
  [note("It ends within seconds and counts as stopped, not as a failure. The run goes on.")],
  "Stop the trial", async () => {
    await post(`runs/${run}/trials/${trial}/stop`);
    return `Trial ${trial} is being stopped.`;
  });

export const extend = run => {
  const input = el("input", {type: "number", min: 1, step: 1, value: (run.max_trials ?? run.done) + 10});
  return ask(`Extend run ${run.id}`,
    [note(`It may have ${count(run.max_trials ?? 0, "trial")}, and has had ${run.done}. `
      + "One that has ended goes on, with its history."), field("Trials in all", input)],
    "Extend", async () => {
      await post(`runs/${run.id}/extend`, {max_trials: Number(input.value)});
      return `Run ${run.id} may have ${count(Number(input.value), "trial")} now.`;
    });
};

/* What somebody has typed as JSON has it: a number, a list, truth; all else is text. */
const read = text => {
  try { return JSON.parse(text); } catch { return text; }
};
const inputFor = (said, value) => {
  if (!said.choices) return el("input", {value: value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value)});
  return el("select", {}, el("option", {value: ""}, "not set"), ...said.choices.map(one =>
    el("option", {value: JSON.stringify(one), selected: one === value}, typeof one === "string" ? one : JSON.stringify(one))));
};
const range = said => said.low === undefined ? "" : ` (${said.low} to ${said.high})`;

export const addPoint = async run => {
  const spec = await get(`runs/${run.id}/spec`), best = run.leading[0]?.params ?? {};
  const inputs = Object.entries(spec.space).filter(([, said]) => said.type !== "list")
    .map(([name, said]) => [name, said, inputFor(said, best[name])]);
  return ask(`Add a point to run ${run.id}`,
    [note("The run tries it next, as one of its trials. Leave out what does not apply."),
      el("div", {class: "fields"}, ...inputs.map(([name, said, input]) => field(`${name}${range(said)}`, input)))],
    "Add it", async () => {
      const given = inputs.filter(([,, input]) => input.value.trim() !== "")
        .map(([name, said, input]) => [name, said.choices || said.type !== "categorical" ? read(input.value) : input.value]);
      await post(`runs/${run.id}/points`, {params: Object.fromEntries(given)});
      return "The point is tried next.";
    });
};

/* The spec of a run in a form, changed by whoever likes; a right spec starts a run of its own. */
export const again = async (run, change = spec => spec) => {
  const spec = change(await get(`runs/${run.id}/spec`));
  const text = el("textarea", {rows: 18, cols: 76, spellcheck: "false", "aria-label": "spec"});
  text.value = JSON.stringify(spec, null, 2);
  const place = el("p", {class: "note"});
  return ask(`Run ${run.experiment} again`,
    [note("The spec of the run, to be changed as you like. It is checked before anything starts."), text, place],
    "Start the run", async () => {
      let conf;
      try { conf = JSON.parse(text.value); } catch (error) { throw new Error(`This is no JSON: ${error.message}`); }
      const started = await post("runs", conf, {team: run.team});
      const where = airflow(`dags/${encodeURIComponent(started.dag_id)}/runs/${encodeURIComponent(started.dag_run_id)}`);
      queueMicrotask(() => document.getElementById("said").querySelector("p")?.append(" ",
        el("a", {href: where, onclick: leave}, "See it in Airflow")));
      return `${started.dag_run_id} is ${started.state}.`;
    });
};

export const approve = (run, wanted) => {
  const {model} = run, words = wanted ? "Approve" : "Reject";
  return ask(`${words} version ${model.version}?`,
    [note(model.verdict?.reason ?? ""), note(wanted
      ? "It is deployed, and becomes the champion once it serves."
      : "It is not deployed; what serves now goes on.")],
    words, async () => {
      await post(`runs/${run.id}/approval`, {approve: wanted});
      return `Version ${model.version} is ${wanted ? "approved" : "rejected"}.`;
    });
};

/* The buttons of what may be done to the run as it is now, by whoever looks. */
export const buttons = run => {
  const {may} = run, goes = run.status === "running", refused = run.status === "refused";
  const waits = run.model?.awaits_approval;
  const all = [
    [may.approve && waits, "Approve", () => approve(run, true), "primary"],
    [may.approve && waits, "Reject", () => approve(run, false)],
    [may.stop && goes && !run.stopping, "Stop …", () => stopRun(run)],
    [may.extend && !refused, "Extend …", () => extend(run)],
    [may.add_point && goes && !run.stopping, "Add a point …", () => addPoint(run)],
    [may.submit && !refused, "Run again …", () => again(run)],
  ];
  return el("p", {class: "buttons"}, ...all.filter(([may]) => may).map(([, words, act, kind]) =>
    el("button", {type: "button", class: kind ?? null, "data-key": words, onclick: act}, words)));
};
