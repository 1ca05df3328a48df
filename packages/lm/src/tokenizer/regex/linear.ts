import type { CodePointSet } from '../unicode/code-point-set.js';
import { lengths, type Node } from './syntax.js';

/**
 * Whether a backtracking engine finds all matches of a pattern in time proportional to the text. Only what is easily
 * seen to be so is: alternatives that are flat sequences, of which each
 * (a) repeats only single characters without limit, and at most one such run can be given back, and
 * (b) when it scanned a run in vain, a later alternative takes that run, so that it is not scanned again and again.
 * The patterns of byte-level vocabularies are of this form. Every other pattern is for `Machine`.
 */
export function isLinear(node: Node): boolean {
  const options = node.kind === 'choice' ? node.options : [node];
  const alternatives = options.map((option) => flatten(option));
  if (alternatives.some((items) => items === undefined)) return false;
  const all = alternatives as Item[][];
  return all.every((items, i) => {
    const vain = runsGivenBack(items);
    if (vain.length > 1) return false;
    return vain.every((set) => isTakenLater(set, all.slice(i + 1)));
  });
}

interface Item {
  /** What repeats without limit; undefined for an item of limited length. */
  readonly run: CodePointSet | undefined;
  /** Whether the alternative fails without it. */
  readonly needed: boolean;
  readonly possessive: boolean;
}

const MAX_LIMITED = 64;

function flatten(node: Node): Item[] | undefined {
  if (node.kind === 'sequence') {
    const items: Item[] = [];
    for (const part of node.items) {
      const more = flatten(part);
      if (!more) return undefined;
      items.push(...more);
    }
    return items;
  }
  if (node.kind === 'repeat' && node.max === Infinity) {
    if (node.item.kind !== 'set' || node.mode === 'lazy') return undefined;
    const run: Item = { run: node.item.set, needed: false, possessive: node.mode === 'possessive' };
    const first: Item = { run: undefined, needed: true, possessive: false };
    return node.min > 0 ? [first, run] : [run];
  }
  if (!isLimited(node)) return undefined;
  const needed = node.kind === 'look' || node.kind === 'edge' || !canBeEmpty(node);
  return [{ run: undefined, needed, possessive: false }];
}

/** Of limited length, and of few ways to match. */
function isLimited(node: Node): boolean {
  if (node.kind === 'look') return lengths(node.item)[1] <= 8 && isLimited(node.item);
  if (node.kind === 'choice') return node.options.every(isLimited);
  if (node.kind === 'sequence') return node.items.every(isLimited);
  if (node.kind === 'atomic') return isLimited(node.item);
  if (node.kind !== 'repeat') return true;
  const most = lengths(node)[1];
  return most <= MAX_LIMITED && (node.item.kind === 'set' || node.max <= 1) && isLimited(node.item);
}

function canBeEmpty(node: Node): boolean {
  // An optional item that contains a position may fail as a whole and then is left out.
  if (node.kind === 'repeat') return node.min === 0 || canBeEmpty(node.item);
  if (node.kind === 'choice') return node.options.some(canBeEmpty);
  if (node.kind === 'sequence') return node.items.every(canBeEmpty);
  return node.kind === 'atomic' && canBeEmpty(node.item);
}

/** Runs behind which something may be missing. `X+` counts as one needed X and then a run. */
function runsGivenBack(items: readonly Item[]): CodePointSet[] {
  return items.flatMap(({ run }, i) => (run && items.slice(i + 1).some(({ needed }) => needed) ? [run] : []));
}

function isTakenLater(set: CodePointSet, later: readonly (readonly Item[])[]): boolean {
  for (const items of later) {
    const run = items.find((item) => item.run)?.run;
    const at = items.findIndex((item) => item.run);
    if (!run || !set.isSubsetOf(run)) return false;
    // Everything before the run but its own first character can be left out.
    const before = items.slice(0, at).filter(({ needed }) => needed).length;
    if (before > 1) return false;
    if (before <= 1 && runsGivenBack(items).length === 0) return true;
  }
  return false;
}
