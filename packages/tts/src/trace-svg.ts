import { excerpt } from '@posttrain/interfaces';
import { assertTrace } from './arguments.js';
import type { Trace, TraceNode } from './trace.js';

const ROW = 24;
const COLUMN = 120;
const LABEL = 520;
const TOP = 52;
const LEFT = 24;

interface Placed {
  readonly node: TraceNode;
  readonly x: number;
  readonly y: number;
  readonly isLeaf: boolean;
}

/**
 * The tree or graph of a search as a self-contained SVG document: the root at the left, one row per leaf, further parents joined by dashes. A filled ring is the
 * chosen completion, a filled dot one that supports it, an empty one was dropped; beside it stand answer, score, tokens
 * and the start of the text, which in full is the node's tooltip. Follows the reader's light or dark colour scheme.
 */
export function traceToSvg(trace: Trace): string {
  assertTrace('traceToSvg', trace);
  const { placed, rows, depth } = layout(trace.nodes);
  const chosenPath = pathToChosen(trace.nodes);
  const width = LEFT + depth * COLUMN + LABEL;
  const height = TOP + Math.max(1, rows) * ROW + 8;
  const { spent } = trace;
  const title = `${trace.strategy} (n=${trace.n}) on ${trace.generator}`;
  const cost = [
    `${spent.completions} completions`,
    `${spent.completionTokens} tokens`,
    `${spent.verifierCalls} verifier calls`,
    `${(spent.wallTimeMs / 1000).toFixed(2)} s`,
    ...(trace.exhausted ? [`stopped by ${trace.exhausted}`] : []),
  ].join(' · ');
  const edges = [...placed.values()].flatMap(({ node, x, y }) => {
    return parentsOf(node).flatMap((id, i) => {
      const parent = placed.get(id);
      if (!parent) return [];
      const middle = (parent.x + x) / 2;
      const path = `M${parent.x} ${parent.y}C${middle} ${parent.y} ${middle} ${y} ${x} ${y}`;
      const kind = `edge${chosenPath.has(node.id) ? ' chosen' : ''}${i > 0 ? ' merged' : ''}`;
      return [`<path class="${kind}" d="${path}"/>`];
    });
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" class="posttrain-trace" role="img" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">`,
    `<title>${escapeXml(`Search tree: ${title}`)}</title>`,
    `<style>${STYLE}</style>`,
    `<text class="head" x="${LEFT - 8}" y="20">${escapeXml(excerpt(title, 90))}</text>`,
    `<text class="quiet" x="${LEFT - 8}" y="38">${escapeXml(cost)}</text>`,
    ...edges,
    ...[...placed.values()].map((place) => drawNode(place, trace)),
    '</svg>',
  ].join('\n');
}

const STYLE = [
  '.posttrain-trace{--ink:#1f2328;--quiet:#59636e;--line:#c5ccd3;--accent:#0a6c4a;background:#fff;',
  'font:12px system-ui,sans-serif}',
  '@media (prefers-color-scheme:dark){.posttrain-trace{--ink:#e6edf3;--quiet:#9198a1;--line:#4a525c;--accent:#4cc38a;',
  'background:#0d1117}}',
  '.posttrain-trace text{fill:var(--ink)}',
  '.posttrain-trace .head{font-weight:600;font-size:14px}',
  '.posttrain-trace .quiet,.posttrain-trace .dropped text{fill:var(--quiet)}',
  '.posttrain-trace .chosen text{font-weight:600}',
  '.posttrain-trace .edge{fill:none;stroke:var(--line);stroke-width:1.5}',
  '.posttrain-trace .edge.chosen{stroke:var(--accent);stroke-width:2.5}',
  '.posttrain-trace .edge.merged{stroke-dasharray:4 3}',
  '.posttrain-trace circle{fill:var(--accent);stroke:var(--accent);stroke-width:1.5}',
  '.posttrain-trace .dropped circle{fill:none;stroke:var(--quiet)}',
  '.posttrain-trace .ring{fill:none;stroke-width:2}',
].join('');

function drawNode({ node, x, y, isLeaf }: Placed, trace: Trace): string {
  const isRoot = node.parent === null;
  const tooltip = isRoot ? promptText(trace) : node.text;
  const facts = [
    node.answer,
    typeof node.score === 'number' ? `score ${round(node.score)}` : null,
    isRoot ? null : `${node.completionTokens} tok`,
    node.reason ?? null,
    isRoot ? null : `“${excerpt(node.text, 40)}”`,
  ].filter((fact) => fact !== null);
  const ring = node.status === 'chosen' ? `<circle class="ring" cx="${x}" cy="${y}" r="8"/>` : '';
  const label = isLeaf && !isRoot ? `<text x="${x + 14}" y="${y + 4}">${escapeXml(facts.join(' · '))}</text>` : '';
  const reason = isRoot ? '' : `${node.status}${node.reason ? `: ${node.reason}` : ''}\n`;
  return (
    `<g class="${isRoot ? 'root' : node.status}" data-node="${node.id}"><title>${escapeXml(reason + tooltip)}</title>` +
    `${ring}<circle cx="${x}" cy="${y}" r="4.5"/>${label}</g>`
  );
}

const parentsOf = ({ parent, parents }: TraceNode): readonly number[] => parents ?? (parent === null ? [] : [parent]);

/**
 * Leaves take one row each, in order; a parent stands in the middle of its children. What was merged stands below its first
 * parent, to the right of all of them.
 */
function layout(nodes: readonly TraceNode[]): { placed: Map<number, Placed>; rows: number; depth: number } {
  const children = new Map<number, TraceNode[]>();
  for (const node of nodes) {
    if (node.parent !== null) children.set(node.parent, [...(children.get(node.parent) ?? []), node]);
  }
  const placed = new Map<number, Placed>();
  let rows = 0;
  let deepest = 0;
  // Parents come before their children.
  const depths = new Map<number, number>();
  for (const node of nodes) {
    const above = parentsOf(node).map((parent) => (depths.get(parent) ?? 0) + 1);
    depths.set(node.id, Math.max(0, ...above));
  }
  const place = (node: TraceNode): number => {
    const depth = depths.get(node.id)!;
    deepest = Math.max(deepest, depth);
    const ys = (children.get(node.id) ?? []).map(place);
    const y = ys.length > 0 ? (ys[0]! + ys.at(-1)!) / 2 : TOP + ROW * (rows++ + 0.5);
    placed.set(node.id, { node, x: LEFT + depth * COLUMN, y, isLeaf: ys.length === 0 });
    return y;
  };
  for (const node of nodes) if (node.parent === null) place(node);
  return { placed, rows, depth: deepest };
}

function pathToChosen(nodes: readonly TraceNode[]): Set<number> {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const path = new Set<number>();
  const chosen = nodes.find(({ status }) => status === 'chosen');
  if (chosen) path.add(chosen.id);
  for (const id of path) for (const parent of parentsOf(byId.get(id)!)) path.add(parent);
  return path;
}

export function promptText({ prompt, prefix }: Trace): string {
  const text =
    typeof prompt === 'string' ? prompt : prompt.map(({ role, content }) => `${role}: ${content}`).join('\n');
  return text + prefix;
}

export function round(score: number): string {
  return String(Number(score.toPrecision(4)));
}

/** Text as XML content: markup escaped, and characters that XML does not allow replaced. */
export function escapeXml(text: string): string {
  return text
    .replace(/(?![\t\n\r])[\p{Cc}\p{Cs}\ufffe\uffff]/gu, '\ufffd')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
