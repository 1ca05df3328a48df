// The format reward of R1 in a run: a policy that was shown tags put rightly and wrongly, alike often, learns to put them, beside the same run on a reward that says
// nothing, with three seeds. Cells that `results/format.json` has are not run again.
import { join } from 'node:path';
import { CausalLM, parseModelConfig, Tokenizer } from '@posttrain/lm';
import { formatTags, policyObjectives, trainPolicy } from '@posttrain/rl';
import { sft } from '@posttrain/training';
import { cellsOf } from '../background-rl/cells.js';
import { LETTERS, noise } from '../background-rl/letters.js';
import { interval, table } from '../background-rl/tables.js';

const TAGS = ['<think>', '</think>', '<answer>', '</answer>'];
const WORDS = [...LETTERS, ...TAGS, '</s>'];
const added = { single_word: false, lstrip: false, rstrip: false, normalized: false };
const tokenizer = new Tokenizer({
  tokenizer: {
    version: '1.0',
    added_tokens: WORDS.slice(LETTERS.length).map((content, i) => {
      return { ...added, special: content === '</s>', id: LETTERS.length + i, content };
    }),
    decoder: { type: 'Fuse' },
    model: { type: 'BPE', vocab: Object.fromEntries(WORDS.map((x, i) => [x, i])), merges: [] },
  },
  config: { eos_token: '</s>' },
});
const config = parseModelConfig({
  ...{ model_type: 'llama', vocab_size: WORDS.length, hidden_size: 24, intermediate_size: 32, num_hidden_layers: 1 },
  ...{ num_attention_heads: 2, max_position_embeddings: 16, initializer_range: 0.2, eos_token_id: WORDS.length - 1 },
});
const PROMPTS = LETTERS.map((letter) => letter + letter);

/** As the reward asks for it, and what it pays nothing for. */
const WRONG: readonly ((x: string) => string)[] = [
  (x) => `<think>${x}<answer>${x}</answer>`,
  (x) => `<think>${x}</think>${x}`,
  (x) => `<answer>${x}</answer>`,
  (x) => `<think></think><answer>${x}</answer>`,
];
const SHOWN = Array.from({ length: 112 }, (_, i) => {
  const [prompt, x] = [PROMPTS[i % PROMPTS.length]!, LETTERS[i % LETTERS.length]!];
  const wrong = WRONG[(i >> 1) % WRONG.length]!;
  return { prompt, completion: i % 2 === 0 ? `<think>${x}</think><answer>${x}</answer>` : wrong(x) };
});

type Reward = 'formatTags' | 'random';
const STEPS = 24;

/** The share of completions in the format: in the first step, and in the last four. */
async function cell(reward: Reward, seed: number): Promise<readonly [number, number]> {
  const start = await CausalLM.initialize({ config, tokenizer, name: 'tags' }, seed);
  const cold = { rows: SHOWN, steps: 42, batchSize: 16, learningRate: 0.02, seed };
  const { trainer } = await sft({ ...cold, model: start });
  const { history } = await trainPolicy({
    ...{ model: trainer.model, rows: PROMPTS.map((prompt) => ({ prompt })), objective: policyObjectives.grpo() },
    rewards: {
      formatTags: { verifier: formatTags(), weight: reward === 'formatTags' ? 1 : 0 },
      random: { verifier: (text: string) => noise(text, seed), weight: reward === 'random' ? 1 : 0 },
    },
    ...{ steps: STEPS, promptsPerStep: 7, completionsPerPrompt: 8, maxCompletionLength: 8 },
    ...{ learningRate: 0.003, schedule: 'constant', seed },
  });
  const seen = history.map(({ metrics }) => metrics['rewards/formatTags/mean']!);
  return [seen[0]!, seen.slice(-4).reduce((a, b) => a + b, 0) / 4];
}

const { ofSeeds } = cellsOf(join(import.meta.dirname, 'results'));
const arms = {
  formatTags: await ofSeeds('format', 'formatTags', (seed) => cell('formatTags', seed)),
  random: await ofSeeds('format', 'random', (seed) => cell('random', seed)),
};
const gained = (reward: Reward) => arms[reward].map(([first, last]) => last - first);
table(
  ['reward', 'in the format at first', 'at last', 'learnt'],
  (['formatTags', 'random'] as const).map((reward) => {
    const of = (i: 0 | 1) => interval(arms[reward].map((one) => one[i]));
    return [reward, of(0), of(1), interval(gained(reward))];
  }),
);
const control = gained('random');
console.log(`\nMore than the control: ${interval(gained('formatTags').map((x, i) => x - control[i]!))}`);
