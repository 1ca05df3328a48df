import { excerpt } from '@posttrain/interfaces';
import { assertTrace } from './arguments.js';
import { type Trace, type TraceNode, traceTexts } from './trace.js';
import { escapeXml, promptText, round, traceToSvg } from './trace-svg.js';

/**
 * A search as a page to look at, which needs no server and asks for nothing: the tree (`traceToSvg`), what was spent, what was pruned for
 * which reason, and every node with status, score, cost and what the strategy kept of it. A click on a node, or Enter on its row, shows
 * its whole text. Without scripts the tree and the table are there, too. Texts cannot get out of their elements, and the page's policy
 * allows no requests.
 */
export function traceToHtml(trace: Trace): string {
  assertTrace('traceToHtml', trace);
  const texts = traceTexts(trace);
  const title = `${trace.strategy} (n=${trace.n}) on ${trace.generator}`;
  return [
    '<!doctype html>',
    '<html lang="en"><head><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">`,
    `<title>${escapeXml(title)}</title><style>${STYLE}</style></head><body>`,
    `<h1>${escapeXml(title)}</h1>`,
    costs(trace),
    pruned(trace.nodes),
    `<main><div id="tree">${traceToSvg(trace)}</div>`,
    `<aside id="node" aria-live="polite"><p>Choose a node to read it.</p></aside></main>`,
    nodeTable(trace.nodes),
    `<script type="application/json" id="texts">${jsonInHtml(textsOf(trace, texts))}</script>`,
    `<script>${SCRIPT}</script>`,
    '</body></html>',
  ].join('\n');
}

function costs({ spent, exhausted }: Trace): string {
  const items: readonly (readonly [string, string | number])[] = [
    ['completions', spent.completions],
    ['prompt tokens', spent.promptTokens],
    ['completion tokens', spent.completionTokens],
    ['verifier calls', spent.verifierCalls],
    ...(spent.verifierTokens === undefined ? [] : [['verifier tokens', spent.verifierTokens] as const]),
    ['seconds', (spent.wallTimeMs / 1000).toFixed(2)],
    ...(exhausted === null ? [] : [['stopped by', exhausted] as const]),
  ];
  const cells = items.map(([name, value]) => `<div><dt>${name}</dt><dd>${escapeXml(String(value))}</dd></div>`);
  return `<dl id="costs">${cells.join('')}</dl>`;
}

/** Why nodes were dropped, the most frequent reason first, with what they cost. */
function pruned(nodes: readonly TraceNode[]): string {
  const reasons = new Map<string, { count: number; tokens: number }>();
  for (const { status, reason, completionTokens } of nodes) {
    if (status !== 'dropped') continue;
    const found = reasons.get(reason ?? '') ?? { count: 0, tokens: 0 };
    reasons.set(reason ?? '', { count: found.count + 1, tokens: found.tokens + completionTokens });
  }
  if (reasons.size === 0) return '<p id="pruned">Nothing was pruned.</p>';
  const rows = [...reasons]
    .sort(([, a], [, b]) => b.count - a.count)
    .map(([reason, { count, tokens }]) => `<tr><td>${escapeXml(reason)}</td><td>${count}</td><td>${tokens}</td></tr>`);
  const head = '<tr><th>pruned because</th><th>nodes</th><th>tokens</th></tr>';
  return `<table id="pruned"><thead>${head}</thead><tbody>${rows.join('')}</tbody></table>`;
}

const COLUMNS = ['node', 'from', 'status', 'score', 'tokens', 'kept by the strategy', 'reason', 'text'];

function nodeTable(nodes: readonly TraceNode[]): string {
  const rows = nodes.map((node) => {
    const { id, parent, parents, status, score, completionTokens, payload, reason, text, role } = node;
    const cells = [
      id,
      (parents ?? (parent === null ? [] : [parent])).join(', '),
      status,
      typeof score === 'number' ? round(score) : score === null ? 'not scorable' : '',
      completionTokens,
      payload === undefined ? '' : excerpt(JSON.stringify(payload), 80),
      reason ?? '',
      `${role === undefined ? '' : `${role}: `}${excerpt(text, 60)}`,
    ];
    const line = cells.map((cell) => `<td>${escapeXml(String(cell))}</td>`).join('');
    return `<tr class="${status}" data-node="${id}" tabindex="0">${line}</tr>`;
  });
  const head = COLUMNS.map((name) => `<th>${name}</th>`).join('');
  return `<table id="nodes"><thead><tr>${head}</tr></thead><tbody>${rows.join('\n')}</tbody></table>`;
}

/** What the page shows of a node that is chosen. */
function textsOf(trace: Trace, texts: ReadonlyMap<number, string>): Readonly<Record<number, unknown>> {
  return Object.fromEntries(
    trace.nodes.map(({ id, parent, explanation, answer, stepScores, payload }) => [
      id,
      {
        text: parent === null ? promptText(trace) : texts.get(id),
        ...(explanation !== undefined && { explanation }),
        ...(answer !== null && { answer }),
        ...(stepScores && { stepScores }),
        ...(payload !== undefined && { payload }),
      },
    ]),
  );
}

/** JSON that no HTML parser finds an end tag or a comment in. */
const jsonInHtml = (value: unknown): string =>
  JSON.stringify(value).replace(/[<>&\u2028\u2029]/g, (it) => `\\u${it.charCodeAt(0).toString(16).padStart(4, '0')}`);

const STYLE = [
  ':root{color-scheme:light dark;font:14px system-ui,sans-serif}',
  'body{margin:1rem;max-width:100%}',
  'h1{font-size:1.2rem}',
  'dl{display:flex;flex-wrap:wrap;gap:.25rem 1.5rem;margin:0 0 1rem}',
  'dt{opacity:.7;font-size:.85rem}dd{margin:0;font-weight:600}',
  'main{display:flex;gap:1rem;align-items:flex-start}',
  '#tree{overflow:auto;max-height:70vh;flex:3}',
  '#node{flex:1;min-width:16rem;max-height:70vh;overflow:auto;border-left:1px solid;padding-left:1rem}',
  '#node pre{white-space:pre-wrap;overflow-wrap:anywhere}',
  'table{border-collapse:collapse;margin:1rem 0}',
  'td,th{text-align:left;padding:.15rem .6rem;border-bottom:1px solid #8884;vertical-align:top}',
  'tr.dropped{opacity:.65}tr.chosen{font-weight:600}',
  '[data-node]{cursor:pointer}tr.shown,tr:focus{outline:2px solid #0a6c4a}',
  'g.shown circle{stroke-width:5}',
].join('');

const SCRIPT = `
const texts = JSON.parse(document.getElementById('texts').textContent);
const panel = document.getElementById('node');
const show = (id) => {
  for (const it of document.querySelectorAll('.shown')) it.classList.remove('shown');
  for (const it of document.querySelectorAll('[data-node="' + id + '"]')) it.classList.add('shown');
  const { text, ...rest } = texts[id];
  const head = document.createElement('h2');
  head.textContent = 'Node ' + id;
  const whole = document.createElement('pre');
  whole.textContent = text;
  panel.replaceChildren(head, whole);
  for (const [name, value] of Object.entries(rest)) {
    const line = document.createElement('p');
    line.textContent = name + ': ' + (typeof value === 'string' ? value : JSON.stringify(value));
    panel.append(line);
  }
};
const nodeOf = (event) => event.target.closest('[data-node]');
document.addEventListener('click', (event) => { const it = nodeOf(event); if (it) show(it.dataset.node); });
document.addEventListener('keydown', (event) => { const it = event.key === 'Enter' && nodeOf(event); if (it) show(it.dataset.node); });
`;
