import { boolean, type Given, integer, number, oneOf, options } from '@posttrain/interfaces';
import { ngramCounts, overlap, referencesOf, wordsOf } from './words.js';

/** mteval-v13a: punctuation apart, full stops and commas unless between digits, hyphens behind digits. */
function mteval13a(text: string): string {
  let line = text
    .replace(/<skipped>/g, '')
    .replace(/-\n/g, '')
    .replace(/\n/g, ' ');
  const entities = { '&quot;': '"', '&amp;': '&', '&lt;': '<', '&gt;': '>' };
  for (const [entity, sign] of Object.entries(entities)) line = line.replaceAll(entity, sign);
  return ` ${line} `
    .replace(/([{-~[-` -&(-+:-@/])/g, ' $1 ')
    .replace(/([^0-9])([.,])/gu, '$1 $2 ')
    .replace(/([.,])([^0-9])/gu, ' $1 $2')
    .replace(/([0-9])(-)/g, '$1 $2 ');
}

const TOKENIZERS = {
  '13a': mteval13a,
  /** mteval-v14, international: punctuation apart unless beside a number, symbols always. */
  intl: (text: string) =>
    text
      .replace(/(\P{N})(\p{P})/gu, '$1 $2 ')
      .replace(/(\p{P})(\P{N})/gu, ' $1 $2')
      .replace(/(\p{S})/gu, ' $1 '),
  char: (text: string) => [...text].join(' '),
  none: (text: string) => text,
} as const;

const bleuOptions = options('bleu', {
  /** `13a` (mteval, what WMT reports), `intl`, `char`, or `none` for texts that are tokenized. Default `13a`. */
  tokenizer: oneOf(['13a', 'intl', 'char', 'none'], { default: '13a' }),
  /** Default false. */
  lowercase: boolean({ default: false }),
  /** Of n-grams without a match. `exp`: ½, ¼, … of one; `floor`: `smoothValue` (0.1); `add-k`: `smoothValue` (1) more of all but words. Default `exp`. */
  smoothing: oneOf(['exp', 'floor', 'add-k', 'none'], { default: 'exp' }),
  smoothValue: number({ optional: true, min: 0 }),
  /** Longest n-grams. Default 4. */
  maxOrder: integer({ default: 4, min: 1 }),
  /** Leave out orders without a match, from the first such on, as single sentences need. Default: true of one text, else false. */
  effectiveOrder: boolean({ optional: true }),
});
/** Options of `bleu`. */
export type BleuOptions = Given<typeof bleuOptions>;

/** BLEU and what it is made of. */
export interface Bleu {
  /** 0 to 100. */
  readonly score: number;
  /** By order, 0 to 100, smoothed. */
  readonly precisions: readonly number[];
  readonly brevityPenalty: number;
  /** Tokens of all hypotheses, and of the references that are nearest in length. */
  readonly hypothesisLength: number;
  readonly referenceLength: number;
  /** How it was computed, as sacrebleu writes it, without its version. */
  readonly signature: string;
}

/**
 * BLEU of a corpus (Papineni et al. 2002), as sacrebleu 2 computes it (arXiv 1804.08771):
 *
 *   100 · min(1, e^(1 − r/h)) · exp(¼ Σ_n ln p_n)
 *
 * p_n the share of n-grams of all hypotheses that are in a reference, each as often as the one that has it most; r the lengths of the references nearest to
 * their hypotheses. A text may have several references.
 *
 * @throws OptionError; EvaluationError `UNPAIRED`, `NO_REFERENCE`
 */
export function bleu(
  hypotheses: readonly string[],
  references: readonly (string | readonly string[])[],
  given: BleuOptions = {},
): Bleu {
  const read = bleuOptions.read(given);
  const { tokenizer, lowercase, smoothing, maxOrder } = read;
  const effectiveOrder = read.effectiveOrder ?? hypotheses.length === 1;
  const smoothValue = read.smoothValue ?? { floor: 0.1, 'add-k': 1, exp: 0, none: 0 }[smoothing];
  const all = referencesOf('bleu', hypotheses, references);
  const tokens = (text: string) =>
    wordsOf(TOKENIZERS[tokenizer]((lowercase ? text.toLowerCase() : text).replace(/\s+$/u, '')));
  const correct = new Array<number>(maxOrder).fill(0);
  const total = new Array<number>(maxOrder).fill(0);
  let [hypothesisLength, referenceLength] = [0, 0];
  hypotheses.forEach((hypothesis, i) => {
    const said = tokens(hypothesis);
    const wanted = all[i]!.map(tokens);
    hypothesisLength += said.length;
    referenceLength += nearest(
      wanted.map((words) => words.length),
      said.length,
    );
    for (let n = 1; n <= maxOrder; n++) {
      const most = new Map<string, number>();
      for (const words of wanted) {
        for (const [key, count] of ngramCounts(words, n)) most.set(key, Math.max(count, most.get(key) ?? 0));
      }
      correct[n - 1]! += overlap(ngramCounts(said, n), most);
      total[n - 1]! += Math.max(0, said.length - n + 1);
    }
  });
  const brevityPenalty =
    hypothesisLength >= referenceLength
      ? 1
      : hypothesisLength > 0
        ? Math.exp(1 - referenceLength / hypothesisLength)
        : 0;
  const { precisions, orders } = smoothed(correct, total, smoothing, smoothValue, effectiveOrder);
  const logs = precisions
    .slice(0, orders)
    .reduce((sum, p) => sum + (p > 0 ? Math.log(p) : Number.NEGATIVE_INFINITY), 0);
  const score = correct.some((count) => count > 0) ? brevityPenalty * Math.exp(logs / orders) : 0;
  const how = smoothing === 'floor' || smoothing === 'add-k' ? `${smoothing}[${smoothValue.toFixed(2)}]` : smoothing;
  const counts = new Set(all.map((list) => list.length));
  const nrefs = counts.size === 1 ? [...counts][0] : 'var';
  const [letters, effective] = [lowercase ? 'lc' : 'mixed', effectiveOrder ? 'yes' : 'no'];
  const signature = `nrefs:${nrefs}|case:${letters}|eff:${effective}|tok:${tokenizer}|smooth:${how}`;
  return { score, precisions, brevityPenalty, hypothesisLength, referenceLength, signature };
}

/** Of equally near ones the shortest. */
const nearest = (lengths: readonly number[], length: number): number =>
  [...lengths].sort((a, b) => Math.abs(a - length) - Math.abs(b - length) || a - b)[0]!;

function smoothed(
  correct: readonly number[],
  total: readonly number[],
  smoothing: 'exp' | 'floor' | 'add-k' | 'none',
  value: number,
  effectiveOrder: boolean,
): { precisions: number[]; orders: number } {
  const precisions = new Array<number>(correct.length).fill(0);
  let [orders, halving] = [correct.length, 1];
  if (correct.every((count) => count === 0)) return { precisions, orders };
  for (let n = 0; n < correct.length; n++) {
    const more = smoothing === 'add-k' && n > 0 ? value : 0;
    const [matches, all] = [correct[n]! + more, total[n]! + more];
    if (all === 0) break;
    if (effectiveOrder) orders = n + 1;
    if (matches > 0) precisions[n] = (100 * matches) / all;
    else if (smoothing === 'exp') {
      halving *= 2;
      precisions[n] = 100 / (halving * all);
    } else if (smoothing === 'floor') precisions[n] = (100 * value) / all;
  }
  return { precisions, orders };
}
