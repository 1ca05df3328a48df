import { type Given, integer, number, options } from '@posttrain/interfaces';
import { wilsonBounds } from '@posttrain/interfaces/estimators';
import { DataOptionError } from '../errors.js';
import { generatorOption, synthesisShape, synthesisStep } from './asking.js';
import { type ProblemRow, rolloutRow } from './rollouts.js';
import { areRight, verifiedShape } from './verified.js';

/** Standard deviations on either side of 95 % of a normal distribution. */
const NORMAL_95 = 1.959963984540054;

const passRateOptions = options('passRateFilter', {
  /** The policy whose chances are measured. */
  generator: generatorOption,
  ...verifiedShape,
  /** Completions of each prompt. Default 16. */
  samples: integer({ default: 16, min: 1 }),
  /** The lowest share of right completions that stays. Default above none: 1 of the samples. */
  least: number({ optional: true, min: 0, max: 1 }),
  /** The highest share that stays. Default below all. */
  most: number({ optional: true, min: 0, max: 1 }),
  ...synthesisShape,
});
/** Options of `passRateFilter`. */
export type PassRateFilterOptions = Given<typeof passRateOptions>;

/** How often a model solves a row. */
export interface PassRate {
  readonly right: number;
  readonly samples: number;
  readonly rate: number;
  /** Wilson's interval at 95 %. */
  readonly interval: readonly [number, number];
}

/**
 * The difficulty filter of data for reinforcement learning (DAPO's dynamic sampling before training, arXiv 2503.14476; survey 2502.21321 §7): every row's `prompt` is tried so many times, and the row stays where the share
 * that is right is from `least` to `most`; by default neither all nor none, since neither has a gradient. Rows come with `passRate`.
 *
 * @throws OptionError; DataOptionError where no share can stay; RowError for a row without prompt; PosttrainError `BAD_RESPONSE`
 */
export function passRateFilter<R extends ProblemRow>(given: PassRateFilterOptions) {
  const settings = passRateOptions.read(given);
  const { generator, verifier, threshold, samples } = settings;
  const [least, most] = [settings.least ?? 1 / samples, settings.most ?? 1 - 1 / samples];
  if (least > most)
    throw new DataOptionError(
      'passRateFilter',
      `no share is from least, ${least}, to most, ${most}; of one sample give both.`,
    );
  return synthesisStep<R, R & { readonly passRate: PassRate }>(
    'pass rate filter',
    JSON.stringify(passRateOptions.settings(given)),
    settings,
    async (row, ask, context, rowNumber) => {
      const { prompt } = rolloutRow(row, rowNumber, context);
      const drawn = await ask.many(generator, prompt, 'pass rate', samples);
      const right = (await areRight(verifier, row, prompt, drawn, context.signal, threshold)).filter(
        (one) => one,
      ).length;
      const rate = right / samples;
      if (rate < least) return { drop: 'too hard' };
      if (rate > most) return { drop: 'too easy' };
      const passRate = { right, samples, rate, interval: wilsonBounds(right, samples, NORMAL_95) };
      return [{ row: { ...row, passRate }, part: 0 }];
    },
  );
}
