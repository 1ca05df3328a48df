import { type Given, integer, options } from '@posttrain/interfaces';
import type { Proposer } from '@posttrain/lm';

const myMethodOptions = options('myMethod', {
  /** Most tokens to propose. Default 4. */
  tokens: integer({ default: 4, min: 1 }),
});
/** Options of `myMethod`. */
export type MyMethodOptions = Given<typeof myMethodOptions>;

/**
 * Proposes that the text goes on as it did at its start (arXiv 0000.00000): the tokens of the prompt that are as far from its beginning
 * as the row is from the beginning of the completion, at most `tokens`. For `speculative: { proposer: () => myMethod() }`.
 *
 * @throws OptionError
 */
export function myMethod(given: MyMethodOptions = {}): Proposer {
  const { tokens } = myMethodOptions.read(given);
  return {
    propose: async (requests) =>
      requests.map(({ row: { prompt }, state: { generated }, most }) => {
        const from = generated.length;
        return { tokens: prompt.slice(from, from + Math.min(tokens, most)) };
      }),
    release: () => undefined,
    close: () => undefined,
  };
}
