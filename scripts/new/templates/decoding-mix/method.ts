import { custom, type Given, number, options } from '@posttrain/interfaces';
import type { DecodingMix, LogitsFrom } from '@posttrain/lm';

const isModel = (value: unknown): boolean => (value as Partial<LogitsFrom> | null)?.model !== undefined;

const myMethodOptions = options('myMethod', {
  /** The model in step with the policy, with the same tokens. */
  other: custom<LogitsFrom>()('a model in step: { model }', isModel, { settings: () => 'a model' }),
  /** α: how much the other model counts. Default 0.5. */
  alpha: number({ default: 0.5, min: 0, max: 1 }),
});
/** Options of `myMethod`. */
export type MyMethodOptions = Given<typeof myMethodOptions>;

/**
 * A mean of logits (arXiv 0000.00000, eq. 0): (1 - α) z_policy + α z_other, the geometric mean of two distributions.
 *
 * @throws OptionError
 */
export function myMethod(given: MyMethodOptions): DecodingMix {
  const { other, alpha } = myMethodOptions.read(given);
  return {
    name: 'my-method',
    settings: myMethodOptions.settings(given),
    models: [other],
    combine: (policy, [theirs]) => Float64Array.from(policy, (z, token) => (1 - alpha) * z + alpha * theirs![token]!),
  };
}
