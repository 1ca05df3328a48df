// Every preset on one small verifiable task beside the same run on a reward that says nothing, with three seeds. Cells that
// `results.json` has are not run again.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CausalLM, parseModelConfig, Tokenizer, ValueModel } from '@posttrain/lm';
import {
  type Annotator,
  type AnyPolicyObjective,
  policyObjectives,
  trainPolicy,
  valueModelCritic,
} from '@posttrain/rl';

const LETTERS = [...'abcdefg'];
const END = LETTERS.length;
const special = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
const tokenizer = new Tokenizer({
  tokenizer: {
    version: '1.0',
    added_tokens: [{ ...special, id: END, content: '</s>' }],
    decoder: { type: 'Fuse' },
    model: { type: 'BPE', vocab: Object.fromEntries([...LETTERS, '</s>'].map((x, i) => [x, i])), merges: [] },
  },
  config: { eos_token: '</s>' },
});
const config = parseModelConfig({
  ...{ model_type: 'llama', vocab_size: END + 1, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 1 },
  ...{ num_attention_heads: 2, max_position_embeddings: 16, initializer_range: 0.2, eos_token_id: END },
});
const modelOf = (seed: number) => CausalLM.initialize({ config, tokenizer, name: 'letters' }, seed);

/** The share of a completion's letters that are the one asked for: a prompt is that letter, twice. */
const right = (text: string, letter: string): number =>
  text.length === 0 ? 0 : [...text].filter((one) => one === letter).length / text.length;

/** A number from 0 to 1 that a text always has and that says nothing of it. */
function noise(text: string, seed: number): number {
  let hash = 2166136261 ^ (seed * 7919);
  for (const letter of text) hash = Math.imul(hash ^ letter.charCodeAt(0), 16777619);
  hash = Math.imul(hash ^ (hash >>> 15), 2246822519);
  return ((hash ^ (hash >>> 13)) >>> 0) / 2 ** 32;
}

/** Steps are paid with the completion. */
const noStepRewards: Annotator = {
  name: 'no-step-rewards',
  settings: {},
  gives: ['tokenRewards'],
  annotate: async (rollouts) =>
    rollouts.map((rollout) => ({ ...rollout, tokenRewards: rollout.completionTokens.map(() => 0) })),
};

const p = policyObjectives;
/** A preset made for a run: a critic learns in one run only. */
const OBJECTIVES: Readonly<Record<string, (seed: number) => AnyPolicyObjective | Promise<AnyPolicyObjective>>> = {
  reinforce: () => p.reinforce({ baseline: 'batch-mean' }),
  rloo: () => p.rloo({ beta: 0 }),
  reinforce_plus_plus: () => p.reinforce_plus_plus({ beta: 0 }),
  grpo: () => p.grpo(),
  dr_grpo: () => p.dr_grpo(),
  dapo: () => p.dapo(),
  cispo: () => p.cispo(),
  sapo: () => p.sapo(),
  luspo: () => p.luspo(),
  vespo: () => p.vespo(),
  gmpo: () => p.gmpo(),
  gspo_token: () => p.gspo_token({ epsilon: 0.1, epsilonHigh: 0.1 }),
  dppo: () => p.dppo(),
  gfpo: () => p.gfpo({ keep: 4 }),
  max_rl: () => p.max_rl(),
  lite_ppo: () => p.lite_ppo(),
  process_grpo: () => ({ ...p.process_grpo({ stepTokens: [] }), annotators: [noStepRewards] }),
  top_entropy: () => p.top_entropy({ topEntropyQuantile: 0.4 }),
  clip_cov: () => p.clip_cov({ clipCovRatio: 0.02, clipCovLow: 0.5 }),
  kl_cov: () => p.kl_cov({ klCovRatio: 0.02 }),
  mirror_descent: () => p.mirror_descent({ tau: 0.1 }),
  vapo: async (seed) =>
    p.vapo({
      critic: await valueModelCritic(await ValueModel.fromCausalLM(await modelOf(seed)), { learningRate: 0.01 }),
    }),
};
const REWARDS = ['right', 'random'] as const;
const SEEDS = [1, 2, 3];
const STEPS = 12;
const FILE = join(import.meta.dirname, 'results.json');

/** How much of the task a run has learnt: the true reward of its last three steps, less that of its first. */
async function cell(objective: string, reward: (typeof REWARDS)[number], seed: number): Promise<number> {
  const { history } = await trainPolicy({
    model: await modelOf(seed),
    rows: LETTERS.map((letter) => ({ prompt: letter + letter, letter })),
    objective: await OBJECTIVES[objective]!(seed),
    rewards: {
      right: { verifier: (completion, { row }) => right(completion, row.letter), weight: reward === 'right' ? 1 : 0 },
      random: { verifier: (completion) => noise(completion, seed), weight: reward === 'random' ? 1 : 0 },
    },
    ...{ steps: STEPS, promptsPerStep: 4, completionsPerPrompt: 8, maxCompletionLength: 4, iterationsPerBatch: 2 },
    ...{ learningRate: 0.03, seed },
  });
  const seen = history.map(({ metrics }) => metrics['rewards/right/mean']!);
  return seen.slice(-3).reduce((a, b) => a + b, 0) / 3 - seen[0]!;
}

/** Mean and 95 % interval over three seeds (Student's t). */
function interval(values: readonly number[]): string {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const std = Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (values.length - 1));
  const half = (4.303 * std) / Math.sqrt(values.length);
  return `${mean.toFixed(2)} [${(mean - half).toFixed(2)}, ${(mean + half).toFixed(2)}]`;
}

const results: Record<string, number> = existsSync(FILE) ? JSON.parse(readFileSync(FILE, 'utf8')) : {};
for (const seed of SEEDS) {
  for (const objective of Object.keys(OBJECTIVES)) {
    for (const reward of REWARDS) {
      const name = `${objective} ${reward} ${seed}`;
      if (name in results) continue;
      results[name] = Number((await cell(objective, reward, seed)).toFixed(4));
      writeFileSync(FILE, `${JSON.stringify(results, undefined, 1)}\n`);
    }
  }
}

console.log('| preset | learnt | with a random reward | difference |\n| --- | --- | --- | --- |');
for (const objective of Object.keys(OBJECTIVES)) {
  const of = (reward: string) => SEEDS.map((seed) => results[`${objective} ${reward} ${seed}`]!);
  if (SEEDS.some((seed) => REWARDS.some((reward) => !(`${objective} ${reward} ${seed}` in results)))) continue;
  const [own, control] = [of('right'), of('random')];
  const difference = own.map((x, i) => x - control[i]!);
  console.log(`| \`${objective}\` | ${interval(own)} | ${interval(control)} | ${interval(difference)} |`);
}
