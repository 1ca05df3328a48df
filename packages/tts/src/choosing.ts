import { custom, type PairJudge, type Prompt, showValue } from '@posttrain/interfaces';
import { hasMethod } from './arguments.js';
import { ContractError } from './errors.js';
import { mean } from './numbers.js';
import { numbered, parseOption, promptOption } from './prompting.js';
import type { Search } from './search.js';
import type { SearchNode } from './search-node.js';

/** The role of who compares texts, where `generators` has it; else the generator itself does. */
const JUDGE = 'judge';

export const judgeRole = ({ generators }: { readonly generators?: Readonly<Record<string, unknown>> }) =>
  generators?.[JUDGE] === undefined ? undefined : JUDGE;

/** Which of two, as a model says it. */
export type Winner = 'first' | 'second' | 'tie';

export const compareShape = {
  /** Who compares two texts, a verifier call each time. Default: the generator, or `generators.judge`, by `comparePrompt`. */
  judge: custom<PairJudge>()('an object with compare(requests)', (value) => hasMethod(value, 'compare'), {
    optional: true,
  }),
  /** What is asked about two texts. */
  comparePrompt: promptOption(
    'a question and two texts',
    (question: string, first: string, second: string) =>
      `${question}\n\n${numbered('Solution', [first, second])}\n\nWhich solution is better? Reason briefly, then end with its number, 1 or 2.`,
  ),
  /** Who wins in what was answered; `null`: nobody is named. Default: the last 1 or 2 in it. */
  parse: parseOption('which of two won', (text: string): Winner | null => {
    const named = text.match(/\b[12]\b/g)?.at(-1);
    return named === undefined ? null : named === '1' ? 'first' : 'second';
  }),
};

/** What a duel of two texts needs. */
interface Dueling {
  readonly search: Search;
  readonly judge: PairJudge | undefined;
  readonly prompt: (first: string, second: string) => Prompt;
  readonly parse: (text: string) => Winner | null;
  /** How often a pair is compared; every other time in the other order. */
  readonly comparisons: number;
  readonly role: string | undefined;
}

/**
 * The share of comparisons that the first of two won, a tie and an answer that names nobody as half each: 1/2 where the budget
 * allows none. Every second comparison shows them in the other order, against a judge that likes one place.
 */
export async function duel(
  { search, judge, prompt, parse, comparisons, role }: Dueling,
  pair: readonly [SearchNode, SearchNode],
): Promise<number> {
  const [a, b] = pair;
  if (judge) {
    const orders = Array.from({ length: comparisons }, (_, i) => i % 2 === 1);
    const said = await search.compare(
      judge,
      orders.map((isSwapped) => (isSwapped ? [b, a] : [a, b])),
    );
    return shareOf(said.flatMap((it, i) => (it === undefined ? [] : it === null ? 0.5 : orders[i] ? 1 - it : it)));
  }
  const match = search.merge([a, b], { operation: 'compare' });
  const asked = await Promise.all(
    [false, true].map(async (isSwapped) => {
      const n = isSwapped ? Math.floor(comparisons / 2) : Math.ceil(comparisons / 2);
      if (n === 0) return [];
      const [first, second] = isSwapped ? [b, a] : [a, b];
      const shown = prompt(first.text, second.text);
      const said = await search.expand(match, { n, prompt: shown, ...(role !== undefined && { role }) });
      return said.map(({ text, node }) => {
        node.reason = 'a comparison';
        const winner: unknown = parse(text);
        if (winner === null || winner === 'tie') return 0.5;
        if (winner !== 'first' && winner !== 'second') {
          throw new ContractError(`parse gave ${showValue(winner)}; give 'first', 'second', 'tie' or null.`);
        }
        return (winner === 'first') === isSwapped ? 0 : 1;
      });
    }),
  );
  return shareOf(asked.flat());
}

const shareOf = (points: readonly number[]): number => (points.length === 0 ? 0.5 : mean(points));

/** Which of several texts a model chooses, an index; `null` where it names none or the budget does not allow the question. */
export async function choose(
  search: Search,
  texts: readonly SearchNode[],
  prompt: Prompt,
  parse: (text: string, count: number) => number | null,
  role: string | undefined,
): Promise<number | null> {
  const from = search.merge(texts, { operation: 'choose' });
  const [said] = await search.expand(from, { n: 1, prompt, ...(role !== undefined && { role }) });
  if (!said) return null;
  said.node.reason = 'a choice';
  const chosen: unknown = parse(said.text, texts.length);
  if (chosen === null || Number.isNaN(chosen)) return null;
  if (!Number.isSafeInteger(chosen) || (chosen as number) < 0) {
    throw new ContractError(`parse gave ${showValue(chosen)}; give an index from 0, or null.`);
  }
  return (chosen as number) < texts.length ? (chosen as number) : null;
}
