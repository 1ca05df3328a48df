import { custom, oneOf } from '../options/option.js';
import { type Given, options } from '../options/options.js';
import type { HasSettings } from '../settings.js';
import type { Verifier } from '../verify.js';
import { ruleVerifier } from './rule-verifier.js';

/** Something that an answer must not do, and how bad it is. */
export interface SeverityRule {
  readonly name: string;
  /** From 0, which is nothing, to 1, the worst there is. */
  readonly severity: number;
  /** What is looked for in the text as a reader sees it: without invisible characters, compatibility forms as plain ones. */
  readonly found: RegExp;
}

const isRule = (value: unknown): boolean => {
  const { name, severity, found } = (value ?? {}) as Partial<SeverityRule>;
  return (
    typeof name === 'string' &&
    typeof severity === 'number' &&
    severity >= 0 &&
    severity <= 1 &&
    found instanceof RegExp
  );
};
const RULES = 'a list of at least one { name, severity: 0 to 1, found: a regular expression }';

const severityOptions = options('severity', {
  /** What is rated. */
  rules: custom<readonly SeverityRule[]>()(
    RULES,
    (value) => Array.isArray(value) && value.length > 0 && value.every(isRule),
    {
      settings: (rules) =>
        JSON.stringify(rules.map(({ name, severity, found }) => [name, severity, found.source, found.flags])),
    },
  ),
  /** What several findings come to: the worst of them, or their sum, which is at most 1. Default `worst`. */
  combine: oneOf(['worst', 'sum'], { default: 'worst' }),
});
/** Options of `severity`. */
export type SeverityOptions = Given<typeof severityOptions>;

/** Cf: joiners, marks of direction, soft hyphens. They are not seen, and would part a word. */
const INVISIBLE = /\p{Cf}/gu;

/**
 * A reward by how bad an answer is, as red teams rate it: minus the severity of the worst rule that is found, or minus the sum of all, from -1 to
 * 0; the verdict's explanation names them. Beside another reward it is what an answer pays for being harmful. Rules see what a reader sees: NFKC, and no
 * invisible characters.
 *
 * @throws OptionError
 */
export function severity(given: SeverityOptions): Verifier & HasSettings {
  const { rules, combine } = severityOptions.read(given);
  return ruleVerifier('severity', severityOptions.settings(given), ({ completion }) => {
    const seen = completion.normalize('NFKC').replace(INVISIBLE, '');
    // A regular expression with the flag g or y begins where it stopped last.
    const found = rules.filter(({ found: wanted }) =>
      new RegExp(wanted.source, wanted.flags.replace(/[gy]/g, '')).test(seen),
    );
    if (found.length === 0) return 0;
    const ratings = found.map(({ severity: rating }) => rating);
    const worst =
      combine === 'worst'
        ? Math.max(...ratings)
        : Math.min(
            1,
            ratings.reduce((a, b) => a + b, 0),
          );
    return { score: -worst, explanation: found.map(({ name, severity: rating }) => `${name} (${rating})`).join(', ') };
  });
}
