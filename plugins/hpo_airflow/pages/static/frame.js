/* Where a page stands: in a frame of Airflow's UI, or by itself. */

const inFrame = () => {
  try {
    return window.parent !== window && Boolean(window.parent.document);
  } catch {
    return false;
  }
};

/* The theme is Airflow's, where the page is in its frame, else what the system prefers. */
export const isDark = () => document.documentElement.dataset.theme === "dark";
const dark = () => {
  if (inFrame()) {
    const words = window.parent.document.documentElement.classList;
    if (words.contains("dark")) return true;
    if (words.contains("light")) return false;
  }
  return matchMedia("(prefers-color-scheme: dark)").matches;
};
export const followTheme = changed => {
  const set = () => {
    const theme = dark() ? "dark" : "light";
    if (document.documentElement.dataset.theme === theme) return;
    document.documentElement.dataset.theme = theme;
    changed();
  };
  set();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", set);
  if (inFrame()) {
    new MutationObserver(set).observe(window.parent.document.documentElement,
      {attributes: true, attributeFilter: ["class"]});
  }
};

/* A frame may not turn the page around it: a link that is made there may. */
const BASE = new URL("../../", document.baseURI);
export const airflow = path => new URL(path.replace(/^\//, ""), BASE).href;
export const leave = event => {
  if (!inFrame() || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  const there = window.parent.document.createElement("a");
  there.href = event.currentTarget.href;
  window.parent.document.body.append(there);
  there.click();
  there.remove();
};
export const dagRun = run =>
  airflow(`dags/${encodeURIComponent(run.dag_id)}/runs/${encodeURIComponent(run.dag_run_id)}`);
