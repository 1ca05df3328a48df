import { custom, type Given, integer, number, OptionError, options } from '@posttrain/interfaces';
import { NO_ADAPTER } from '@posttrain/lm';
import type { Metrics } from '@posttrain/training';
import { type Critic, criticExamples, valuedRollouts } from '../critic/critic-values.js';
import type { PromptRow } from '../rewards/reward.js';
import { type RollOutOptions, rollOut } from './roll-out.js';

const pretrainOptions = options('pretrainCritic', {
  /** What learns. It must be able to (`valueModelCritic`). */
  critic: custom<Critic>()(
    'a critic, such as await valueModelCritic(model)',
    (value) => typeof (value as Partial<Critic> | null | undefined)?.values === 'function',
    {},
  ),
  /** Batches of rollouts of the fixed policy, each of all rows. */
  steps: integer({ min: 1 }),
  /**
   * The first of them, counted from 0: a run that was stopped goes on with the critic as it was before that batch (its trainer's snapshot, say), and draws what it
   * would have drawn. Default 0.
   */
  firstStep: integer({ default: 0, min: 0 }),
  /** γ of the returns. Default 1. */
  gamma: number({ default: 1, min: 0, max: 1 }),
  /** λ of the returns. Default 1, as in the papers: they do not depend on what the critic says. */
  lambda: number({ default: 1, min: 0, max: 1 }),
  /** Stop where the critic explains this share of the variance of the returns that it has not seen yet. Default: make all steps. */
  explainedVariance: number({ optional: true, max: 1 }),
});

/** Options of `pretrainCritic`: those of `rollOut`, and what is learnt of it. */
export type PretrainCriticOptions<Row extends PromptRow = PromptRow> = Given<typeof pretrainOptions> &
  Omit<RollOutOptions<Row>, 'step'>;

/** How a step of value pretraining went. */
export interface CriticPretraining {
  readonly step: number;
  readonly metrics: Metrics;
}

/**
 * Value pretraining (VC-PPO, arXiv 2503.01491, § 3.1; VAPO, arXiv 2504.05118): before the policy moves, its critic learns what the rollouts of that policy are worth,
 * from returns of λ 1. A critic that begins as a reward model, or with a random head, is biased otherwise, and GAE hands the bias on. `explained_variance`
 * of each step, 1 - Var(R - V) / Var(R), is of values from before it learnt from that step.
 *
 * @throws OptionError; what `rollOut` and the critic throw
 */
export async function pretrainCritic<Row extends PromptRow>({
  critic: given,
  steps: count,
  firstStep: from,
  gamma: g,
  lambda: l,
  explainedVariance: enough,
  ...sampling
}: PretrainCriticOptions<Row>): Promise<readonly CriticPretraining[]> {
  const settings = pretrainOptions.read({
    ...{ critic: given, steps: count },
    ...(from !== undefined && { firstStep: from }),
    ...(g !== undefined && { gamma: g }),
    ...(l !== undefined && { lambda: l }),
    ...(enough !== undefined && { explainedVariance: enough }),
  });
  const { critic, steps, firstStep, gamma, lambda, explainedVariance } = settings;
  if (!critic.learn) {
    const problem = `the critic ${critic.name} does not learn; use valueModelCritic.`;
    throw new OptionError('INVALID_OPTION', 'pretrainCritic', 'critic', problem);
  }
  if (firstStep > steps) {
    const problem = `firstStep is ${firstStep}, and there are ${steps} steps; ask for more of them.`;
    throw new OptionError('INVALID_OPTION', 'pretrainCritic', 'firstStep', problem);
  }
  const history: CriticPretraining[] = [];
  for (let step = firstStep; step < steps; step++) {
    const rollouts = await rollOut({ ...sampling, step } as unknown as RollOutOptions<Row>);
    const policy = { model: sampling.model, adapter: sampling.adapter ?? NO_ADAPTER };
    const examples = criticExamples(await valuedRollouts(rollouts, critic, policy), { gamma, lambda });
    const explained = explainedVarianceOf(
      examples.flatMap(({ returns }) => returns),
      examples.flatMap(({ values: before }) => before),
    );
    const learnt = (await critic.learn(examples)) ?? {};
    history.push({ step, metrics: { ...learnt, explained_variance: explained } });
    if (explainedVariance !== undefined && explained >= explainedVariance) break;
  }
  return history;
}

/** 1 - Var(R - V) / Var(R); 0 where all returns are equal, as there is nothing to explain. */
function explainedVarianceOf(returns: readonly number[], values: readonly number[]): number {
  const variance = (of: readonly number[]) => {
    const mean = of.reduce((a, b) => a + b, 0) / of.length;
    return of.reduce((sum, x) => sum + (x - mean) ** 2, 0) / of.length;
  };
  const whole = variance(returns);
  return whole > 0 ? 1 - variance(returns.map((r, i) => r - values[i]!)) / whole : 0;
}
