// The algorithms that today's stand on, as presets of a run: each beside the same run with a reward that says nothing.
import { ValueModel } from '@posttrain/lm';
import {
  type AnyPolicyObjective,
  loggedRollouts,
  mixerRollouts,
  noRatio,
  policyObjectives,
  rollOut,
  trainPolicy,
  truncatedImportance,
  valueModelCritic,
} from '@posttrain/rl';
import { LETTERS, modelOf, noise, right } from './letters.js';

export const LEARNERS = {
  reinforce_moving_average: 0.03,
  scst: 0.03,
  minimum_risk: 0.03,
  a2c: 0.03,
  natural_policy_gradient: 0.5,
  mixer: 0.03,
  logged: 0.03,
} as const;
type Learner = keyof typeof LEARNERS;

const p = policyObjectives;
const objectiveOf = async (learner: Learner, seed: number): Promise<AnyPolicyObjective> => {
  if (learner === 'a2c') {
    const value = await ValueModel.fromCausalLM(await modelOf(seed));
    return p.a2c({
      critic: await valueModelCritic(value, { learningRate: 0.01, vfCoef: 0.5, cliprangeValue: 10 }),
      nSteps: 2,
    });
  }
  const ratio = truncatedImportance(noRatio(), { level: 'sequence' });
  return {
    reinforce_moving_average: () => p.reinforce({ baseline: 'moving-average' }),
    scst: () => p.scst(),
    minimum_risk: () => p.minimum_risk({ alpha: 1 }),
    natural_policy_gradient: () => p.natural_policy_gradient({ damping: 0.01 }),
    mixer: () => p.mixer(),
    logged: () => ({ ...p.reinforce({ baseline: 'batch-mean' }), ratio }),
  }[learner]();
};

/**
 * The true reward of completions of a trained policy, less that of its start. The control has a random reward; of MIXER, which learns from
 * references too, it is cross-entropy alone.
 */
export async function learnt(learner: Learner, isControl: boolean, seed: number): Promise<number> {
  const model = await modelOf(seed);
  // Half of a reference's letters are the right one.
  const prompts = LETTERS.map((letter, i) => {
    const other = LETTERS[(i + 1) % LETTERS.length]!;
    return { prompt: letter + letter, letter, completion: letter + other + letter + other };
  });
  const scored = (isTrue: boolean) => ({
    right: {
      verifier: (text: string, { row }: { row: { letter: string } }) => right(text, row.letter),
      weight: isTrue ? 1 : 0,
    },
    random: { verifier: (text: string) => noise(text, seed), weight: isTrue ? 0 : 1 },
  });
  const isMixer = learner === 'mixer';
  const rewards = scored(!isControl || isMixer);
  const sampling = { maxCompletionLength: 4, completionsPerPrompt: 8, seed } as const;
  const first = await rollOut({ ...sampling, model, rows: prompts, rewards });
  const rows = prompts.map((row, i) => ({
    ...row,
    completions: first
      .filter(({ group }) => group === i)
      .map(({ completionTokens: tokens, reward, samplerLogProbs: logProbs }) => ({
        tokens,
        reward: reward!,
        logProbs,
      })),
  }));
  const { trainer } = await trainPolicy({
    ...{ ...sampling, model, rows, rewards, objective: await objectiveOf(learner, seed) },
    ...(learner === 'logged' && { rollouts: loggedRollouts(), oldLogProbs: 'recomputed' as const }),
    ...(isMixer && { rollouts: mixerRollouts({ xentSteps: isControl ? 12 : 4, everySteps: 2 }) }),
    ...{ steps: 12, promptsPerStep: 4, learningRate: LEARNERS[learner], schedule: 'constant' },
  });
  const meanOf = async (policy: typeof model) => {
    const rollouts = await rollOut({
      ...sampling,
      completionsPerPrompt: 32,
      model: policy,
      rows: prompts,
      rewards: scored(true),
    });
    return rollouts.reduce((sum, { rewards: own }) => sum + own.right! / rollouts.length, 0);
  };
  return (await meanOf(trainer.model)) - (await meanOf(model));
}
