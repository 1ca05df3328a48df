import type { Key } from '@posttrain/core-tensor';
import { custom, type Given, integer, oneOf, options, PosttrainError, settingsOf } from '@posttrain/interfaces';
import { contentHash, type Metrics } from '@posttrain/training';
import type { Advantage } from '../advantage/advantage.js';
import type { Annotator, Prefix } from '../annotator.js';
import { type ScoredRollout, trainedTokens } from '../rollout.js';
import { rolloutField } from '../rollout-field.js';
import type { Discriminator } from './discriminator.js';

/** Q of each token. */
const actionValues = rolloutField('seqgan.q', { per: 'token' });

/** A real sequence, as tokens. */
interface RealSequence {
  readonly promptTokens: readonly number[];
  readonly completionTokens: readonly number[];
}

const isReal = (value: unknown): boolean => Array.isArray((value as Partial<RealSequence> | null)?.completionTokens);

const seqGanValuesOptions = options('seqGanValues', {
  /** Tells real sequences from those of the policy: `await classifierDiscriminator(model)`. */
  discriminator: custom<Discriminator>()(
    'a discriminator, as await classifierDiscriminator(model)',
    (value) => typeof (value as Partial<Discriminator> | null)?.realness === 'function',
    { settings: ({ settings }) => settingsOf(settings ?? {}) },
  ),
  /** Real sequences, which the policy is to write like: prompts and completions as tokens. */
  real: custom<readonly RealSequence[]>()(
    'a list of { promptTokens, completionTokens }',
    (value) => Array.isArray(value) && value.length > 0 && value.every(isReal),
    { settings: (value) => contentHash([...value]) },
  ),
  /** N: how often every beginning is sampled on from. Default 16, as in the paper. */
  rollouts: integer({ default: 16, min: 1 }),
});
/** Options of `seqGanValues`. */
export type SeqGanValuesOptions = Given<typeof seqGanValuesOptions>;

const seqGanOptions = options('seqGan', {
  /**
   * What is taken off Q: nothing, as in the paper, or the mean of Q over the step's tokens at the same place, which does not depend on what is
   * written there. Default `none`.
   */
  baseline: oneOf(['none', 'position-mean'], { default: 'none' }),
});
/** Options of `seqGan`. */
export type SeqGanOptions = Given<typeof seqGanOptions>;

/** Draws without putting back, all again where more are asked for than there are. */
function drawn<T>(from: readonly T[], count: number, key: Key): T[] {
  const uniforms = key.uniformHost(from.length);
  const order = from.map((_, i) => i).sort((a, b) => uniforms[a]! - uniforms[b]!);
  return Array.from({ length: count }, (_, i) => from[order[i % from.length]!]!);
}

const sequenceOf = ({ promptTokens, completionTokens }: RealSequence): number[] => [
  ...promptTokens,
  ...completionTokens,
];

/**
 * What SeqGAN (arXiv 1609.05473, eq. 4) pays a token: Q(y_<t, y_t) is the mean D of N completions that the policy samples on from y_≤t, and D(y) at
 * the last token. After the policy's updates the discriminator learns this step's completions from as many real ones. The reward of the run has
 * no part in it. For `policyObjectives.seqgan({ discriminator, real })`.
 *
 * @throws OptionError; PosttrainError SEQGAN for rollouts with tokens that an environment wrote
 */
export function seqGanValues(given: SeqGanValuesOptions): Annotator {
  const { discriminator, real, rollouts: n } = seqGanValuesOptions.read(given);
  const { learn, state, load, trainers } = discriminator;
  return {
    name: `seqgan(${discriminator.name})`,
    settings: seqGanValuesOptions.settings(given),
    gives: [actionValues.need],
    learner: discriminator,
    ...(trainers && { trainers }),
    async annotate(rollouts, { sample }) {
      rollouts.forEach(refuseWritten);
      const prefixes = rollouts.flatMap((rollout, i): { readonly i: number; readonly prefix: Prefix }[] =>
        rollout.completionTokens.slice(1).map((_, t) => ({ i, prefix: { rollout, tokens: t + 1, n } })),
      );
      const further = await sample(prefixes.map(({ prefix }) => prefix));
      const realness = await discriminator.realness([...rollouts, ...further.flat()].map(sequenceOf));
      let at = rollouts.length;
      const values = rollouts.map((): number[] => []);
      prefixes.forEach(({ i }, p) => {
        const own = further[p]!.map(() => realness[at++]!);
        values[i]!.push(own.reduce((a, b) => a + b, 0) / own.length);
      });
      return rollouts.map((rollout, i) => {
        const all = [...values[i]!, realness[i]!];
        return actionValues.on(rollout, all.slice(0, rollout.completionTokens.length));
      });
    },
    ...(learn && {
      learn: async (rollouts, _, { key }): Promise<Metrics> => {
        const generated = rollouts.map(sequenceOf);
        return (await learn.call(discriminator, drawn(real, generated.length, key).map(sequenceOf), generated)) ?? {};
      },
    }),
    ...(state && { state: () => state.call(discriminator) }),
    ...(load && { load: (saved: unknown) => load.call(discriminator, saved) }),
  };
}

/** The advantage of SeqGAN (arXiv 1609.05473, eq. 8), one a token: Q of `seqGanValues`, less a baseline. @throws OptionError */
export function seqGan(given: SeqGanOptions = {}): Advantage {
  const { baseline } = seqGanOptions.read(given);
  return {
    name: 'seqgan',
    settings: seqGanOptions.settings(given),
    needs: [actionValues.need],
    level: 'token',
    compute(rollouts) {
      const values = rollouts.map((rollout) => Array.from(actionValues.of(rollout)));
      if (baseline === 'none') return values;
      return values.map((own) =>
        own.map((q, t) => {
          const there = values.flatMap((other) => (t < other.length ? [other[t]!] : []));
          return q - there.reduce((a, b) => a + b, 0) / there.length;
        }),
      );
    },
  };
}

/** @throws PosttrainError SEQGAN */
function refuseWritten(rollout: ScoredRollout, index: number): void {
  if (trainedTokens(rollout).every(Boolean)) return;
  const problem = `rollout ${index} has tokens that an environment wrote, which does not go on from a prefix`;
  throw new PosttrainError('SEQGAN', `seqGanValues: ${problem}; use rollouts of a single turn`);
}
