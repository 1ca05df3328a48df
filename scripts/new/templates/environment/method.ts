import { type Given, integer, options } from '@posttrain/interfaces';
import type { Environment, PromptRow } from '@posttrain/rl';

const myMethodOptions = options('myMethod', {
  /** The secret is a whole number from 0 to one less than this. Default 10. */
  numbers: integer({ default: 10, min: 2 }),
  /** Replies until an episode ends without a reward. Default 5. */
  maxGuesses: integer({ default: 5, min: 1 }),
});
/** Options of `myMethod`. */
export type MyMethodOptions = Given<typeof myMethodOptions>;

/**
 * Guess a number (arXiv 0000.00000): each reply is a guess, which the environment answers with "higher" or "lower". The reward of the
 * k-th guess is 1 / k where it is right, else 0; what is no number is told so and counts as a guess.
 *
 * @throws OptionError
 */
export function myMethod(given: MyMethodOptions = {}): Environment<PromptRow> {
  const { numbers, maxGuesses } = myMethodOptions.read(given);
  return {
    name: 'my-method',
    settings: myMethodOptions.settings(given),
    start({ prompt }, { key }) {
      // All that is random comes from the key, so that a resumed run is the same one.
      const secret = Math.floor(key.uniformHost(1)[0]! * numbers);
      let guesses = 0;
      const said = (content: string) => ({ messages: [{ role: 'user', content }], reward: 0, done: false });
      return {
        messages: typeof prompt === 'string' ? [{ role: 'user', content: prompt }] : prompt,
        step({ content }) {
          const text = content.trim();
          const guess = /^\d+$/.test(text) ? Number(text) : Number.NaN;
          guesses++;
          if (guess === secret) return { messages: [], reward: 1 / guesses, done: true };
          if (guesses === maxGuesses) return { messages: [], reward: 0, done: true };
          if (Number.isNaN(guess)) return said('A number, please.');
          return said(guess < secret ? 'higher' : 'lower');
        },
      };
    },
  };
}
