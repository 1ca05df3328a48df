/** The style sheet of reports: light and dark by the reader's setting, one column on phones, black on white in print. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --page: #f7f6f3; --card: #ffffff; --ink: #1c1b19; --soft: #5b5954; --faint: #716e67; --rule: #e4e1da; --grid: #ecebe6;
  --accent: #2a62c4; --right: #17794d; --right-bg: #e3f4ea; --wrong: #b23a2a; --wrong-bg: #fbe9e5; --warn-bg: #fdf3d8; --warn: #7a5600;
  --series-0: #2a6fd6; --series-1: #dd6b20; --series-2: #15936b; --series-3: #8a4fc7; --series-4: #c23d72; --series-5: #7c6f16;
  --shadow: 0 1px 2px rgb(40 35 20 / .05), 0 4px 16px rgb(40 35 20 / .04);
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #16171a; --card: #1e2024; --ink: #ecebe7; --soft: #b3b1aa; --faint: #99968f; --rule: #34363b; --grid: #2b2d32;
    --accent: #86aefc; --right: #6fd3a0; --right-bg: #17382a; --wrong: #f39483; --wrong-bg: #42231e; --warn-bg: #3a3017; --warn: #f0cf7c;
    --series-0: #6ea4ff; --series-1: #f59b57; --series-2: #4cc79b; --series-3: #bd93f5; --series-4: #f17fa9; --series-5: #cdbb4a;
    --shadow: none;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "Liberation Sans", sans-serif; }
main, header, footer { max-width: 1080px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 56px; }
h1 { margin: 0; font-size: clamp(1.7rem, 4.5vw, 2.5rem); line-height: 1.15; letter-spacing: -.022em; text-wrap: balance; }
.subtitle { margin: 10px 0 0; color: var(--soft); font-size: 1.08rem; max-width: 68ch; }
nav ul { display: flex; flex-wrap: wrap; gap: 8px; margin: 26px 0 0; padding: 0; list-style: none; }
nav a { display: block; padding: 5px 13px; border: 1px solid var(--rule); border-radius: 99px; background: var(--card); color: var(--soft); font-size: .87rem; text-decoration: none; }
nav a:hover { color: var(--accent); border-color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
section { margin-top: 52px; scroll-margin-top: 16px; }
h2 { margin: 0 0 6px; font-size: 1.38rem; letter-spacing: -.014em; }
h1, h3 { overflow-wrap: anywhere; }
h3 { margin: 0; font-size: 1rem; }
p { margin: 0 0 10px; }
.intro, .prose { max-width: 72ch; color: var(--soft); overflow-wrap: anywhere; }
.prose { margin-top: 14px; }
.error { color: var(--faint); font-size: .88em; font-weight: 400; white-space: nowrap; }
.warning { display: flex; gap: 12px; margin-top: 16px; padding: 12px 16px; border-radius: 10px; background: var(--warn-bg); color: var(--warn); font-size: .94rem; overflow-wrap: anywhere; }
.warning strong { flex: none; }
.warning p:last-child { margin: 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 168px), 1fr)); gap: 12px; margin: 16px 0 0; }
.figures > div, .plot, .example { background: var(--card); border: 1px solid var(--rule); border-radius: 12px; box-shadow: var(--shadow); }
.figures > div { padding: 14px 18px 15px; }
.figures dt { color: var(--soft); font-size: .85rem; }
.figures dd { margin: 0; }
.figures b { font-size: 1.8rem; font-weight: 650; letter-spacing: -.02em; font-variant-numeric: tabular-nums; }
.figures .note { color: var(--faint); font-size: .82rem; }
.table { margin-top: 16px; overflow-x: auto; background: var(--card); border: 1px solid var(--rule); border-radius: 12px; box-shadow: var(--shadow); }
table { width: 100%; border-collapse: collapse; font-size: .93rem; font-variant-numeric: tabular-nums; }
caption { padding: 11px 18px 3px; text-align: left; color: var(--soft); font-size: .88rem; }
th, td { padding: 9px 18px; text-align: left; vertical-align: baseline; border-top: 1px solid var(--grid); }
thead th { border-top: 0; color: var(--soft); font-size: .82rem; font-weight: 600; white-space: nowrap; }
tbody th { font-weight: 550; }
.table th:first-child { position: sticky; left: 0; background: var(--card); }
thead th:first-child, tbody th:first-child { min-width: 7.5em; }
.numeric { text-align: right; white-space: nowrap; }
tbody tr:hover > * { background: color-mix(in srgb, var(--accent) 6%, var(--card)); }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 410px), 1fr)); gap: 16px; margin-top: 16px; }
.plot { margin: 0; padding: 16px 18px 12px; min-width: 0; display: flex; flex-direction: column; max-width: 560px; }
.plot > svg { display: block; width: 100%; height: auto; margin-top: 10px; overflow: visible; }
.plot figcaption { margin-top: 6px; color: var(--soft); font-size: .87rem; overflow-wrap: anywhere; }
.legend { display: flex; flex-wrap: wrap; gap: 3px 16px; margin: 7px 0 0; padding: 0; list-style: none; color: var(--soft); font-size: .87rem; }
.legend li { display: flex; align-items: center; gap: 6px; min-width: 0; overflow-wrap: anywhere; }
.legend svg { width: 24px; height: 14px; flex: none; }
.empty { margin: 24px 0; color: var(--faint); }
.series { color: var(--series-0); }
.s1 { color: var(--series-1); } .s2 { color: var(--series-2); } .s3 { color: var(--series-3); } .s4 { color: var(--series-4); } .s5 { color: var(--series-5); }
.plot text { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; }
.plot text.tick { fill: var(--faint); }
.plot text.name { fill: var(--ink); font-size: 12.5px; }
.plot text.value { fill: var(--ink); font-weight: 600; }
.plot tspan { fill: var(--faint); font-weight: 400; font-size: .88em; }
.grid { stroke: var(--grid); } .base { stroke: var(--faint); stroke-opacity: .7; }
.line { fill: none; stroke: currentColor; stroke-width: 2.1; stroke-linejoin: round; stroke-linecap: round; }
.line.faint { stroke-width: 1.2; stroke-opacity: .28; }
.marker { fill: currentColor; fill-opacity: .88; stroke: var(--card); stroke-width: 1.2; }
.bar { fill: currentColor; fill-opacity: .86; }
.whisker { fill: none; stroke: currentColor; stroke-width: 1.5; stroke-opacity: .8; }
.bar + .whisker { stroke: var(--ink); stroke-opacity: .75; }
.target { fill: transparent; }
.series g:hover .marker { stroke: currentColor; stroke-width: 3.5; }
.series g:hover .bar { fill-opacity: 1; }
details { margin-top: auto; padding-top: 8px; font-size: .87rem; }
summary { width: fit-content; color: var(--faint); cursor: pointer; }
summary:hover { color: var(--accent); }
details .table { max-height: 320px; overflow: auto; margin-top: 8px; border-radius: 8px; box-shadow: none; }
details th, details td { padding: 5px 12px; }
.examples { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 410px), 1fr)); gap: 16px; margin-top: 16px; align-items: start; }
.example { padding: 16px 18px 18px; min-width: 0; }
.example h3 { overflow-wrap: anywhere; }
.turn h4 { display: flex; align-items: center; gap: 8px; margin: 13px 0 4px; color: var(--faint); font-size: .8rem; font-weight: 600; overflow-wrap: anywhere; }
.turn pre { margin: 0; padding: 9px 12px; max-height: 22em; overflow: auto; border-radius: 8px; background: var(--page); font: .84rem/1.5 var(--mono); white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: isolate; }
.turn pre i { color: var(--faint); }
.completion pre { box-shadow: inset 2px 0 var(--rule); }
.completion:has(.right) pre { box-shadow: inset 2px 0 var(--right); }
.completion:has(.wrong) pre { box-shadow: inset 2px 0 var(--wrong); }
.badge { padding: 1px 8px; border-radius: 99px; background: var(--grid); color: var(--soft); font-size: .78rem; white-space: nowrap; }
.badge.right { background: var(--right-bg); color: var(--right); } .badge.wrong { background: var(--wrong-bg); color: var(--wrong); }
footer { margin-top: 64px; padding-bottom: 40px; color: var(--faint); font-size: .85rem; }
#live { position: fixed; right: 12px; bottom: 12px; margin: 0; padding: 4px 12px; border: 1px solid var(--rule); border-radius: 99px; background: var(--card); color: var(--soft); font-size: .82rem; }
@media (max-width: 560px) {
  main, header, footer { padding-left: 16px; padding-right: 16px; }
  header { padding-top: 32px; }
  section { margin-top: 40px; }
  .plot { padding: 14px 12px 10px; }
  .plot text { font-size: 14px; } .plot text.name { font-size: 13.5px; } .plot text.value { font-size: 13px; }
  th, td { padding: 8px 12px; }
  .figures { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .figures > div { padding: 12px 14px; } .figures b { font-size: 1.45rem; }
}
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
@media print {
  :root { --page: #fff; --shadow: none; }
  nav, summary, #live { display: none; }
  .plot, .example, .figures > div, tr { break-inside: avoid; }
  .turn pre { max-height: none; }
}
`;
