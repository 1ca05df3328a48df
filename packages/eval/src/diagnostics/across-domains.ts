import type { Comparison } from '../compare.js';
import { EvaluationError } from '../errors.js';
import { type RandomEffects, randomEffects } from '../statistics/random-effects.js';

/** Whether a difference holds over domains. */
export interface AcrossDomains {
  /** Domains of which the whole interval is above 0, below 0, or neither. */
  readonly better: readonly string[];
  readonly worse: readonly string[];
  readonly undecided: readonly string[];
  /** The mean over domains; `null` where fewer than two have a standard error above 0. */
  readonly overall: RandomEffects | null;
  /** Of other domains, with each left out: a claim that one domain carries is not one over domains. */
  readonly without: Readonly<Record<string, RandomEffects | null>>;
  /** Better overall, worse nowhere, and better overall whichever domain is left out. */
  readonly generalises: boolean;
}

/**
 * Whether one run is better than another over domains (families of tasks), from a comparison in each. A claim needs two families or more, and more than the mean over all problems, which the largest
 * family decides.
 *
 * @param comparisons by domain, as `compare` gives them
 * @throws EvaluationError `NO_RECORDS` for fewer than two domains
 */
export function acrossDomains(comparisons: Readonly<Record<string, Comparison>>): AcrossDomains {
  const domains = Object.entries(comparisons);
  if (domains.length < 2)
    throw new EvaluationError(
      'NO_RECORDS',
      `acrossDomains: there ${domains.length === 1 ? 'is one domain' : 'are no domains'}; compare the runs on two families of tasks or more.`,
    );
  const pooled = (some: typeof domains): RandomEffects | null => {
    const effects = some.flatMap(([, { difference: value, standardError }]) =>
      standardError === null || standardError === 0 ? [] : [{ value, standardError }],
    );
    return effects.length < 2 ? null : randomEffects(effects);
  };
  const named = (holds: (interval: readonly [number, number]) => boolean): string[] =>
    domains.flatMap(([name, { interval }]) => (interval !== null && holds(interval) ? [name] : []));
  const [better, worse] = [named(([low]) => low > 0), named(([, high]) => high < 0)];
  const overall = pooled(domains);
  const without = Object.fromEntries(
    domains.map(([name]) => [name, pooled(domains.filter(([other]) => other !== name))]),
  );
  const isBetter = (found: RandomEffects | null): boolean => found !== null && found.interval[0] > 0;
  return {
    better,
    worse,
    undecided: domains.map(([name]) => name).filter((name) => !better.includes(name) && !worse.includes(name)),
    overall,
    without,
    // With two domains each is left alone, of which its own interval speaks.
    generalises:
      worse.length === 0 &&
      isBetter(overall) &&
      (domains.length === 2 ? better.length === 2 : Object.values(without).every(isBetter)),
  };
}
