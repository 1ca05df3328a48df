// The task of the study, its presets, and what one run of one of them has learnt.
import { type CausalLM, ValueModel } from '@posttrain/lm';
import {
  type Annotator,
  type AnyPolicyObjective,
  ilql,
  ilqlSampler,
  implicitRewardModel,
  oreoPolicy,
  oreoValue,
  type PromptRow,
  policyObjectives,
  type RolledOut,
  rollOut,
  sharedValueHead,
  singleTurn,
  syncTargets,
  trainPolicy,
  valueModelCritic,
  withQHeads,
} from '@posttrain/rl';
import { predictions, Trainer, type TrainingRow, tokenValues, update } from '@posttrain/training';
import { LETTERS, modelOf, noise, right } from '../background-rl/letters.js';

/** Steps are paid with the completion. */
const noStepRewards: Annotator = {
  name: 'no-step-rewards',
  settings: {},
  gives: ['tokenRewards'],
  annotate: async (rollouts) =>
    rollouts.map((rollout) => ({ ...rollout, tokenRewards: rollout.completionTokens.map(() => 0) })),
};

/** Which reward is learnt from: the task's, or the one that says nothing. */
export const REWARDS = ['right', 'random'] as const;
type Reward = (typeof REWARDS)[number];

/** What a run is made of beside the task. */
interface Made {
  readonly objective: AnyPolicyObjective;
  /** Default: the model of the seed. */
  readonly model?: CausalLM;
  /** The advantage weighs rewards by itself. */
  readonly weighsRewards?: true;
  readonly learningRate?: number;
  /** As many times the steps of the others. Default 1. */
  readonly longer?: number;
}
const plain = (objective: () => AnyPolicyObjective) => (): Made => ({ objective: objective() });

const p = policyObjectives;
const critic = async (seed: number) =>
  valueModelCritic(await ValueModel.fromCausalLM(await modelOf(seed)), { learningRate: 0.01 });
/** A preset made for a run: a critic learns in one run only. */
const OBJECTIVES: Readonly<Record<string, (seed: number, reward: Reward) => Made | Promise<Made>>> = {
  reinforce: plain(() => p.reinforce({ baseline: 'batch-mean' })),
  rloo: plain(() => p.rloo({ beta: 0 })),
  reinforce_plus_plus: plain(() => p.reinforce_plus_plus({ beta: 0 })),
  ppo: async (seed) => ({ objective: p.ppo({ critic: await critic(seed), beta: 0 }) }),
  'ppo (shared trunk)': async (seed) => {
    const shared = await sharedValueHead(await modelOf(seed), { seed });
    return { model: shared.model, objective: p.ppo({ critic: shared.critic, beta: 0 }) };
  },
  vapo: async (seed) => ({ objective: p.vapo({ critic: await critic(seed) }) }),
  prime: async (seed) => ({
    objective: p.prime({ rewardModel: await implicitRewardModel(await modelOf(seed), { learningRate: 0.003 }) }),
  }),
  trpo: plain(() => p.trpo({ maxKl: 0.05, damping: 0.01, cgIterations: 6 })),
  natural_policy_gradient: plain(() =>
    p.natural_policy_gradient({ normalizedKl: 0.05, damping: 0.01, cgIterations: 6 }),
  ),
  grpo: plain(() => p.grpo()),
  dr_grpo: plain(() => p.dr_grpo()),
  dapo: plain(() => p.dapo()),
  cispo: plain(() => p.cispo()),
  sapo: plain(() => p.sapo()),
  luspo: plain(() => p.luspo()),
  vespo: plain(() => p.vespo()),
  gmpo: plain(() => p.gmpo()),
  gspo_token: plain(() => p.gspo_token({ epsilon: 0.1, epsilonHigh: 0.1 })),
  dppo: plain(() => p.dppo()),
  gfpo: plain(() => p.gfpo({ keep: 4 })),
  gdpo: (_, reward) => {
    const rewardWeights = { right: reward === 'right' ? 1 : 0, random: reward === 'random' ? 1 : 0 };
    return { objective: p.gdpo({ rewardWeights }), weighsRewards: true };
  },
  max_rl: plain(() => p.max_rl()),
  lite_ppo: plain(() => p.lite_ppo()),
  process_grpo: plain(() => ({ ...p.process_grpo({ stepTokens: [] }), annotators: [noStepRewards] })),
  top_entropy: plain(() => p.top_entropy({ topEntropyQuantile: 0.4 })),
  clip_cov: plain(() => p.clip_cov({ clipCovRatio: 0.02, clipCovLow: 0.5 })),
  kl_cov: plain(() => p.kl_cov({ klCovRatio: 0.02 })),
  mirror_descent: plain(() => p.mirror_descent({ tau: 0.1 })),
  // Added when 12 steps and three seeds had left it open.
  'reinforce_plus_plus (24 steps)': () => ({ objective: p.reinforce_plus_plus({ beta: 0 }), longer: 2 }),
};

interface Task extends PromptRow {
  readonly letter: string;
}
const ROWS: readonly Task[] = LETTERS.map((letter) => ({ prompt: letter + letter, letter }));
const BUDGET = { steps: 12, promptsPerStep: 4, completionsPerPrompt: 8, maxCompletionLength: 4 };

const rewardsOf = (reward: Reward, seed: number, weighsRewards = false) => {
  const weight = (name: Reward) => (weighsRewards || reward === name ? 1 : 0);
  return {
    right: {
      verifier: (completion: string, { row }: { row: Task }) => right(completion, row.letter),
      weight: weight('right'),
    },
    random: { verifier: (completion: string) => noise(completion, seed), weight: weight('random') },
  };
};

/** How much of the task a run has learnt: the true reward of its last three steps, less that of its first. */
async function online(objective: string, reward: Reward, seed: number, steps: number): Promise<number> {
  const { weighsRewards, longer = 1, ...made } = await OBJECTIVES[objective]!(seed, reward);
  const { history } = await trainPolicy({
    ...{ model: await modelOf(seed), rows: ROWS, rewards: rewardsOf(reward, seed, weighsRewards) },
    ...{
      ...BUDGET,
      steps: longer * steps,
      iterationsPerBatch: made.objective.update ? 1 : 2,
      learningRate: 0.03,
      seed,
      ...made,
    },
  });
  const seen = history.map(({ metrics }) => metrics['rewards/right/mean']!);
  return seen.slice(-3).reduce((a, b) => a + b, 0) / 3 - seen[0]!;
}

/** The true reward of 56 completions of a policy. */
async function worth(model: CausalLM, seed: number, source = singleTurn<Task>()): Promise<number> {
  const given = { rows: ROWS, rewards: rewardsOf('right', seed), maxCompletionLength: 4, seed: 1000 + seed };
  const rollouts = await rollOut({ ...given, model, source, completionsPerPrompt: 8 });
  return rollouts.reduce((sum, { reward }) => sum + reward!, 0) / rollouts.length;
}

/** A rollout as a trajectory of OREO: its tokens are actions, its reward is paid with the last. */
function trajectory({ promptTokens, completionTokens, oldLogProbs, reward }: RolledOut, count: number): TrainingRow {
  const before = new Array<number>(promptTokens.length - 1).fill(0);
  const last = completionTokens.length - 1;
  return {
    tokens: [...promptTokens, ...completionTokens],
    weights: [...before, ...completionTokens.map(() => 1 / completionTokens.length / count)],
    annotations: {
      reference_log_probs: [...before, ...Array.from(oldLogProbs)],
      rewards: [...before, ...completionTokens.map((_, t) => (t === last ? reward! : 0))],
    },
  };
}

/** Rollouts of the policy that an offline method begins as: those of a step of an online run that learns nothing. */
function dataOf(model: CausalLM, reward: Reward, seed: number, step: number): Promise<RolledOut<Task>[]> {
  const rows = [0, 1, 2, 3].map((i) => ROWS[(4 * step + i) % ROWS.length]!);
  const given = { model, rows, step, seed, rewards: rewardsOf(reward, seed), maxCompletionLength: 4 };
  return rollOut({ ...given, completionsPerPrompt: BUDGET.completionsPerPrompt });
}

/** OREO learns offline: of as many rollouts of the policy that it begins as, in as many updates, and samples nothing meanwhile. */
async function oreo(reward: Reward, seed: number, steps: number, updates = 2): Promise<number> {
  const model = await modelOf(seed);
  const actor = await Trainer.create(model, { optimizer: 'adamw_torch' });
  const value = await Trainer.create(await ValueModel.fromCausalLM(model), { optimizer: 'adamw_torch' });
  const losses = { actor: oreoPolicy({ beta: 0.1 }), value: oreoValue({ beta: 0.1 }) };
  for (let step = 0; step < steps; step++) {
    const sampled = await dataOf(model, reward, seed, step);
    const trajectories = sampled.map((rollout) => trajectory(rollout, sampled.length));
    const annotated = (name: string, of: (i: number) => readonly number[]) =>
      trajectories.map((row, i) => ({ ...row, annotations: { ...row.annotations, [name]: of(i) } }));
    for (let i = 0; i < updates; i++) {
      const { logProbs } = await actor.read(trajectories, predictions());
      const ratios = annotated('log_ratios', (row) =>
        Array.from(logProbs[row]!, (x, t) => x - trajectories[row]!.annotations!.reference_log_probs![t]!),
      );
      await update(value, ratios, losses.value, 0.01);
      const values = await value.read(trajectories, tokenValues);
      const valued = annotated('values', (row) => Array.from(values[row]!).slice(0, -1));
      await update(actor, valued, losses.actor, 0.03);
    }
  }
  return (await worth(actor.model, seed)) - (await worth(model, seed));
}

/** ILQL, offline as OREO: what is drawn from at the end is the cloned policy, tilted by Q. */
async function ilqlArm(reward: Reward, seed: number, steps: number, updates = 2): Promise<number> {
  const model = await modelOf(seed);
  const start = withQHeads(await ValueModel.fromCausalLM(model, { format: 'v_head' }), seed);
  const trainer = await Trainer.create(start, { optimizer: 'adamw_torch' });
  const loss = ilql({ gamma: 1, tau: 0.7, cqlScale: 0.1 });
  for (let step = 0; step < steps; step++) {
    const sampled = await dataOf(model, reward, seed, step);
    const rows = sampled.map((rollout) => trajectory(rollout, sampled.length));
    for (let i = 0; i < updates; i++) await update(trainer, rows, loss, 0.03);
    await syncTargets(trainer, { alpha: 0.5 });
  }
  const { model: cloned, mix } = ilqlSampler(trainer.model, { beta: 8 });
  return (await worth(cloned, seed, singleTurn({ mix }))) - (await worth(model, seed));
}

const OFFLINE: Readonly<Record<string, (reward: Reward, seed: number, steps: number) => Promise<number>>> = {
  oreo,
  'oreo (8 updates a batch)': (reward, seed, steps) => oreo(reward, seed, steps, 8),
  'oreo (32 updates a batch)': (reward, seed, steps) => oreo(reward, seed, steps, 32),
  ilql: ilqlArm,
  'ilql (8 updates a batch)': (reward, seed, steps) => ilqlArm(reward, seed, steps, 8),
};
/** The presets of the study, in the order of its table. */
export const ARMS: readonly string[] = [...Object.keys(OBJECTIVES), ...Object.keys(OFFLINE)];

/** What one run of one preset has learnt of the task, with a reward, a seed and so many batches. */
export const cell = (arm: string, reward: Reward, seed: number, steps = BUDGET.steps): Promise<number> =>
  (OFFLINE[arm] ?? ((...of) => online(arm, ...of)))(reward, seed, steps);
