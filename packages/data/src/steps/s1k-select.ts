import { custom, type Given, integer, options } from '@posttrain/interfaces';
import { assertCallback } from '../errors.js';
import type { Row } from '../rows.js';
import { type SelectionStep, selectionStep } from '../selection/selection-step.js';

const isFunction = (value: unknown): boolean => typeof value === 'function';

const s1kOptions = options('s1kSelect', {
  /** How many rows are chosen. Default 1000. */
  count: integer({ default: 1000, min: 1 }),
  /** The domain of a row. */
  domain: custom<(row: never) => string>()('a function of the row', isFunction, { settings: String }),
  /** How long its reasoning is, in any unit. */
  length: custom<(row: never) => number>()('a function of the row', isFunction, { settings: String }),
  /** Rows that are chosen whatever their domain: s1K has the long ones of AIME and GPQA here. Default none. */
  always: custom<(row: never) => boolean>()('a function of the row', isFunction, { optional: true, settings: String }),
  /** Of the draw. Default 0. */
  seed: integer({ default: 0 }),
});
/** Options of `s1kSelect`. */
export type S1kSelectOptions = Given<typeof s1kOptions>;

/**
 * The diversity stage of s1K (arXiv 2501.19393, algorithm 1), behind its filters of quality and difficulty (`filter`, `passRateFilter`): a domain is drawn uniformly, and of it a row with
 * probability ∝ 2^−rank, rank 0 the longest reasoning, until there are `count`; a domain without rows is out. (The authors' notebook draws the last 300 of 1000 from the domains of its benchmarks; here all are drawn uniformly.)
 *
 * @throws OptionError; DataOptionError
 */
export function s1kSelect<R extends object = Row>(given: S1kSelectOptions): SelectionStep<R> {
  const { count, domain, length, always, seed } = s1kOptions.read(given);
  assertCallback('s1kSelect', 'domain', domain);
  return selectionStep(
    's1k select',
    JSON.stringify(s1kOptions.settings(given)),
    'was not drawn',
    async (rows, context) => {
      const chosen: string[] = [];
      const domains = new Map<string, { id: string; length: number }[]>();
      for await (const row of rows) {
        const { id } = context.keyOf(row);
        if (always?.(row as never) && chosen.length < count) chosen.push(id);
        else {
          const own = domains.get(domain(row as never)) ?? [];
          own.push({ id, length: length(row as never) });
          domains.set(domain(row as never), own);
        }
      }
      const random = context.random(seed);
      const left = [...domains.keys()].sort();
      for (const own of domains.values()) own.sort((a, b) => b.length - a.length);
      while (chosen.length < count && left.length > 0) {
        const at = random.integer(0, left.length - 1);
        const own = domains.get(left[at]!)!;
        // Σ 2^−i of n ranks is 2 − 2^(1 − n).
        let mass = random.float() * (2 - 2 ** (1 - own.length));
        let rank = 0;
        while (rank < own.length - 1 && mass >= 2 ** -rank) mass -= 2 ** -rank++;
        chosen.push(own.splice(rank, 1)[0]!.id);
        if (own.length === 0) left.splice(at, 1);
      }
      return chosen;
    },
  );
}
