"""The page's look. The charts have the same colours, in `assets/charts.js`."""

from __future__ import annotations

_LIGHT = """
color-scheme: light; --page: #ffffff; --ink: #1c2127; --muted: #626b76; --line: #e3e7ec;
--surface: #f6f7f9;
--complete: #2f74b5; --failed: #c9501c; --running: #8b929b; --stopped: #7d6fa8; --best: #00876c;
--broken: #a1508f; --tint-failed: #fdf3ee; --tint-best: #e8f6f2;
--best-ink: #006b55;
"""
_DARK = """
color-scheme: dark; --page: #14171b; --ink: #e4e7eb; --muted: #9aa3ae; --line: #2d333b;
--surface: #1c2026;
--complete: #5aa5e0; --failed: #ee8250; --running: #878f99; --stopped: #a99be0; --best: #36c3a1;
--broken: #d795c7; --tint-failed: #2a1e18; --tint-best: #14291f;
--best-ink: #36c3a1;
"""

CSS = (
    f"""
:root {{ {_LIGHT} }}
@media screen and (prefers-color-scheme: dark) {{ :root:not(.printing) {{ {_DARK} }} }}
"""
    + """
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
[data-chart]:empty { min-height: 380px; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 36px 28px 64px; overflow-wrap: anywhere; }
h1, h2, h3, p, dl, dd, figure { margin: 0; }
h1 { font-size: 32px; line-height: 1.2; letter-spacing: -.02em; overflow-wrap: anywhere; }
section { margin-top: 52px; scroll-margin-top: 16px; }
section > h2 { font-size: 20px; letter-spacing: -.01em; }
section > .lead { color: var(--muted); max-width: 78ch; margin: 4px 0 16px; }
h3 { font-size: 13px; font-weight: 600; color: var(--muted); margin-bottom: 6px; }
.muted { color: var(--muted); } .note { color: var(--muted); font-size: 13px; }
.mono { overflow-wrap: anywhere; }
.kicker { color: var(--muted); font-size: 13px; margin-bottom: 4px; }
.title { display: flex; flex-wrap: wrap; align-items: center; gap: 8px 16px; }
.badge { color: var(--page); background: var(--running); border-radius: 999px;
  font-size: 13px; font-weight: 600; padding: 2px 12px; }
.badge.complete { background: var(--complete); }
.badge.failed, .badge.refused { background: var(--failed); }
.reason { margin-top: 10px; font-size: 17px; max-width: 78ch; white-space: pre-line;
  overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: 1.3fr 1fr 1fr; gap: 14px; margin-top: 24px; }
.tile { border: 1px solid var(--line); border-radius: 10px; padding: 14px 18px; min-width: 0; }
.tile h2 { font-size: 13px; font-weight: 600; color: var(--muted); overflow-wrap: anywhere; }
.figure { font-size: 30px; font-weight: 650; letter-spacing: -.02em; line-height: 1.25;
  font-variant-numeric: tabular-nums; }
.figure small { font-size: 15px; font-weight: 400; color: var(--muted); letter-spacing: 0; }
.tile.goal .figure { color: var(--best); }
.tile .note { overflow-wrap: anywhere; }
.shares { display: flex; gap: 2px; height: 6px; margin: 4px 0 6px; }
.shares i { border-radius: 3px; min-width: 3px; }
i.complete { background: var(--complete); } i.failed { background: var(--failed); }
i.running, i.waiting { background: var(--running); } i.stopped { background: var(--stopped); }
nav { display: flex; flex-wrap: wrap; gap: 4px 18px; margin-top: 22px; font-size: 14px; }
a { color: var(--complete); text-decoration: none; } a:hover { text-decoration: underline; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(250px, 1fr));
  gap: 20px 36px; margin: 12px 0 20px; }
.columns.wide { grid-template-columns: repeat(auto-fit, minmax(330px, 1fr)); }
dl > div { display: flex; justify-content: space-between; gap: 16px; padding: 4px 0;
  border-bottom: 1px solid var(--line); }
dt { color: var(--muted); overflow-wrap: anywhere; min-width: 30%; }
dd { min-width: 30%; }
dd { text-align: right; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
#provenance dl > div { justify-content: flex-start; } #provenance dd { text-align: left; }
#provenance dt { flex: 0 0 9.5em; min-width: 0; }
#provenance > div:not(.columns) dt { flex-basis: 19em; }
pre { font: 12.5px/1.55 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono",
  monospace; background: var(--surface); border-radius: 8px; padding: 12px 16px; margin: 8px 0;
  overflow: auto; max-height: 420px; white-space: pre-wrap; overflow-wrap: anywhere; }
button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; }
button:focus-visible, summary:focus-visible, a:focus-visible, .tall:focus-visible {
  outline: 2px solid var(--complete); outline-offset: 2px; border-radius: 4px; }
.copy, .filters button { border: 1px solid var(--line); border-radius: 999px; font-size: 13px;
  font-weight: 500; padding: 2px 12px; color: var(--ink); }
.copy { margin-left: 8px; }
.copy:hover, .filters button:hover { background: var(--surface); }
.filters { display: flex; flex-wrap: wrap; gap: 8px; margin-bottom: 12px; }
.filters button span { color: var(--muted); font-variant-numeric: tabular-nums; }
.filters button[aria-pressed=true] { background: var(--ink); border-color: var(--ink);
  color: var(--page); }
.filters button[aria-pressed=true] span { color: inherit; opacity: .75; }
.scroll { overflow-x: auto; }
.tall { max-height: 800px; overflow: auto; border: 1px solid var(--line); border-radius: 10px; }
table { border-collapse: separate; border-spacing: 0; font-size: 13px; width: 100%;
  overflow-wrap: normal;
  font-variant-numeric: tabular-nums; }
th { position: sticky; top: 0; z-index: 2; background: var(--surface); text-align: left;
  border-bottom: 1px solid var(--line); font-weight: 600; padding: 0; }
#final th, #drift th, #rungs th { padding: 8px 10px; }
#rungs th.num { padding-right: calc(10px + 1em); } #rungs details { margin-top: 12px; }
th button { padding: 8px 10px; width: 100%; text-align: inherit; white-space: nowrap;
  max-width: 190px; overflow: hidden; text-overflow: ellipsis; font-weight: 600; }
th button::after { content: ""; display: inline-block; width: 1em; color: var(--complete);
  text-align: right; }
th[aria-sort=ascending] button::after { content: "↑"; }
th[aria-sort=descending] button::after { content: "↓"; }
td { padding: 5px 10px; border-bottom: 1px solid var(--line); white-space: nowrap;
  max-width: 220px; overflow: hidden; text-overflow: ellipsis; vertical-align: top; }
td.num { padding-right: calc(10px + 1em); }
tr:last-child td { border-bottom: 0; }
.num { text-align: right; } .none { color: var(--muted); }
td.goal { font-weight: 650; } .first { border-left: 1px solid var(--line); }
tbody tr:hover td { background: var(--surface); }
tr[data-state=failed] td { background: var(--tint-failed); }
tr.best td { background: var(--tint-best); }
tr.best td:first-child, tr.best td.goal { color: var(--best-ink); font-weight: 650; }
tr.shown td { box-shadow: inset 0 2px var(--complete), inset 0 -2px var(--complete); }
.state::before { content: ""; display: inline-block; width: 8px; height: 8px; margin-right: 6px;
  border-radius: 50%; background: var(--running); }
.state.complete::before { background: var(--complete); }
.state.failed::before { background: var(--failed); border-radius: 1px; transform: rotate(45deg); }
.state.stopped::before { background: var(--stopped); border-radius: 1px; }
.state.broken::before { background: none; border: 2px solid var(--broken); }
summary { cursor: pointer; }
td summary { list-style: none; } td summary::-webkit-details-marker { display: none; }
td summary::after { content: " ▸"; color: var(--muted); font-size: 11px; }
td details[open] summary::after { content: " ▾"; }
td details p { white-space: normal; overflow-wrap: anywhere; min-width: 190px; color: var(--muted);
  font-size: 13px; }
.again, .drawn + .drawn { margin-top: 28px; }
#next h3 { margin-top: 14px; } #next p { max-width: 90ch; overflow-wrap: anywhere; }
.filters button:disabled { opacity: .5; cursor: default; } .pages { margin-top: 10px; }
.meters { display: grid; grid-template-columns: max-content minmax(60px, 360px) max-content;
  gap: 6px 14px; align-items: center; margin-bottom: 18px; }
.rail i { display: block; height: 12px; border-radius: 3px; }
.failure { border-top: 1px solid var(--line); padding: 7px 0; overflow-wrap: anywhere; }
.failure > summary .state { margin: 0 8px; }
footer { margin-top: 48px; color: var(--muted); font-size: 13px; }
@media (max-width: 860px) { .tiles { grid-template-columns: 1fr; } }
@media (max-width: 560px) { main { padding: 20px 16px 48px; } h1 { font-size: 26px; }
  section { margin-top: 40px; } .meters { grid-template-columns: max-content 1fr max-content; }
  dl > div { gap: 10px; } }
@page { margin: 12mm; }
@media print { .no-print, nav { display: none !important; } body { font-size: 12px; }
  main { padding: 0; } .tall, pre { max-height: none; overflow: visible; border: 0; }
  section { margin-top: 28px; } .drawn, .tile, tr { break-inside: avoid; }
  section > h2 { break-after: avoid; }
  .scroll { overflow: visible; } table { font-size: 8px; }
  td, td.num, th button { padding: 2px 3px; } th button { white-space: normal; }
  th { position: static; overflow-wrap: anywhere; } th button::after { display: none; }
  .lead { break-after: avoid; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; } }
:root.printing main { width: 690px; }
:root.printing .tiles { grid-template-columns: 1.3fr 1fr 1fr; }
"""
)
