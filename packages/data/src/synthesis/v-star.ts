import { type Given, integer, options } from '@posttrain/interfaces';
import { generatorOption, synthesisShape, synthesisStep, textOf } from '../steps/asking.js';
import { areRight, verifiedShape } from '../steps/verified.js';

const vStarOptions = options('vStar', {
  generator: generatorOption,
  ...verifiedShape,
  /** Solutions of each question. Default 16. */
  samples: integer({ default: 16, min: 1 }),
  /** Pairs of each question at the most. Default: as many as there are of the rarer kind. */
  mostPairs: integer({ optional: true, min: 0 }),
  ...synthesisShape,
});
/** Options of `vStar`. */
export type VStarOptions = Given<typeof vStarOptions>;

/** A row of V-STaR: for the generator what is right, for the verifier a pair of what is right and what is wrong. */
export type VStarRow =
  | { readonly for: 'generator'; readonly prompt: string; readonly completion: string }
  | { readonly for: 'verifier'; readonly prompt: string; readonly chosen: string; readonly rejected: string };

/**
 * V-STaR (arXiv 2402.06457): of every row's `prompt` so many solutions. Those that are right are rows for the generator; each question's right and wrong solutions, paired at random, are
 * preference rows that a verifier is trained on with DPO, so that wrong solutions are not thrown away. Equal solutions count once. At test time the verifier ranks what the generator draws.
 *
 * @throws OptionError; RowError for a row without prompt; PosttrainError `BAD_RESPONSE`
 */
export function vStar(given: VStarOptions) {
  const settings = vStarOptions.read(given);
  const { generator, verifier, threshold, samples, mostPairs } = settings;
  return synthesisStep<object, VStarRow>(
    'v-star',
    JSON.stringify(vStarOptions.settings(given)),
    settings,
    async (row, ask, context, rowNumber) => {
      const prompt = textOf(row, 'prompt', rowNumber);
      const drawn = [...new Set(await ask.many(generator, prompt, 'solutions', samples))];
      const isRight = await areRight(verifier, row, prompt, drawn, context.signal, threshold);
      const random = context.random(`${context.keyOf(row).id} pairs`);
      const right = random.shuffled(drawn.filter((_, i) => isRight[i]));
      const wrong = random.shuffled(drawn.filter((_, i) => !isRight[i]));
      const pairs = Math.min(right.length, wrong.length, mostPairs ?? Number.POSITIVE_INFINITY);
      const made = [
        ...right.map((completion): VStarRow => ({ for: 'generator', prompt, completion })),
        ...right
          .slice(0, pairs)
          .map((chosen, i): VStarRow => ({ for: 'verifier', prompt, chosen, rejected: wrong[i]! })),
      ];
      if (made.length === 0) return { drop: 'no solution is right' };
      return made.map((one, part) => ({ row: one, part }));
    },
  );
}
