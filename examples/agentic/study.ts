// A model with random weights learns to use a calculator and to say what it said, beside the same run on a reward that says nothing, with three seeds. Cells that
// `results.json` has are not run again.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CausalLM, ChatTemplate, parseModelConfig, Tokenizer } from '@posttrain/lm';
import {
  type CalculatorRow,
  calculator,
  type Environment,
  environmentReward,
  multiTurn,
  policyObjectives,
  trainPolicy,
} from '@posttrain/rl';
import { interval } from '../background-rl/tables.js';

const SYMBOLS = [...'01234+=utAn'];
const END = SYMBOLS.length;
const special = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
const tokenizer = new Tokenizer({
  tokenizer: {
    version: '1.0',
    added_tokens: [{ ...special, id: END, content: '</s>' }],
    decoder: { type: 'Fuse' },
    model: { type: 'BPE', vocab: Object.fromEntries([...SYMBOLS, '</s>'].map((x, i) => [x, i])), merges: [] },
  },
  config: { eos_token: '</s>' },
});
const template =
  "{% for m in messages %}{% if m.role == 'assistant' %}A{{ m.content }}</s>n{% elif m.role == 'tool' %}t{{ m.content }}n" +
  '{% else %}u{{ m.content }}n{% endif %}{% endfor %}{% if add_generation_prompt %}A{% endif %}';
const config = parseModelConfig({
  ...{ model_type: 'llama', vocab_size: END + 1, hidden_size: 16, intermediate_size: 16, num_hidden_layers: 1 },
  ...{ num_attention_heads: 2, max_position_embeddings: 32, initializer_range: 0.2, eos_token_id: END },
});
const modelOf = (seed: number) =>
  CausalLM.initialize({ config, tokenizer, chatTemplate: new ChatTemplate(tokenizer, template), name: 'digits' }, seed);

/** Sums of at most 4, so that an answer is one letter. Only the calculator has the numbers: who does not call it can guess, and is right a third of the time at best. */
const rows: CalculatorRow[] = [0, 1, 2, 3, 4].flatMap((a) =>
  [0, 1, 2, 3, 4].filter((b) => a + b <= 4).map((b) => ({ prompt: '+', expression: `${a}+${b}`, answer: a + b })),
);

/** The calculator with one key: a reply that begins with `=` calls it. */
const world = calculator();
const oneKey: Environment<CalculatorRow> = {
  ...world,
  async start(row, context) {
    const { messages, step } = await world.start(row, context);
    const pressed = { name: 'calculate', arguments: { expression: row.expression } };
    const calls = [{ id: '0', type: 'function' as const, function: pressed }];
    return {
      messages,
      step: (reply) => step(reply.content.startsWith('=') ? { ...reply, tool_calls: calls } : reply),
    };
  },
};

/** A number from 0 to 1 that an episode always has and that says nothing of it. */
function noise(text: string, seed: number): number {
  let hash = 2166136261 ^ (seed * 7919);
  for (const letter of text) hash = Math.imul(hash ^ letter.charCodeAt(0), 16777619);
  hash = Math.imul(hash ^ (hash >>> 15), 2246822519);
  return ((hash ^ (hash >>> 13)) >>> 0) / 2 ** 32;
}

const REWARDS = ['right', 'random'] as const;
const SEEDS = [1, 2, 3];
const STEPS = 96;
const FILE = join(import.meta.dirname, 'results.json');

/** Every twelfth step: the share of right answers, and of episodes that called. */
interface Curve {
  readonly right: readonly number[];
  readonly called: readonly number[];
}

async function cell(reward: (typeof REWARDS)[number], seed: number): Promise<Curve> {
  const { history } = await trainPolicy({
    model: await modelOf(seed),
    rows,
    rollouts: multiTurn(oneKey, { maxTurns: 2, maxTurnTokens: 3 }),
    objective: policyObjectives.grpo({ entropyCoef: 0.05 }),
    rewards: {
      right: { verifier: environmentReward(), weight: reward === 'right' ? 1 : 0 },
      // To call is to be found before it can pay.
      called: {
        verifier: (_, { messages = [] }) => Number(messages.some(({ role }) => role === 'tool')),
        weight: reward === 'right' ? 0.3 : 0,
      },
      random: {
        verifier: (text, { messages = [] }) => noise(messages.map(({ content }) => content).join('|') + text, seed),
        weight: reward === 'random' ? 1 : 0,
      },
    },
    ...{ steps: STEPS, promptsPerStep: 5, completionsPerPrompt: 32, maxCompletionLength: 14 },
    ...{ learningRate: 0.01, schedule: 'constant' as const, seed },
  });
  const curveOf = (name: string) =>
    history
      .map(({ metrics }) => Number(metrics[`rewards/${name}/mean`]!.toFixed(3)))
      .filter((_, step) => step % 12 === 0 || step === STEPS - 1);
  return { right: curveOf('right'), called: curveOf('called') };
}

const results: Record<string, Curve> = existsSync(FILE) ? JSON.parse(readFileSync(FILE, 'utf8')) : {};
for (const seed of SEEDS) {
  for (const reward of REWARDS) {
    const name = `${reward} ${seed}`;
    if (name in results) continue;
    results[name] = await cell(reward, seed);
    writeFileSync(FILE, `${JSON.stringify(results, undefined, 1)}\n`);
  }
}

console.log('| reward | right at first | right at last | learnt | called at last |\n| --- | --- | --- | --- | --- |');
for (const reward of REWARDS) {
  const curves = SEEDS.map((seed) => results[`${reward} ${seed}`]!);
  const [first, last] = [curves.map(({ right }) => right[0]!), curves.map(({ right }) => right.at(-1)!)];
  const learnt = last.map((value, i) => value - first[i]!);
  const called = curves.map((curve) => curve.called.at(-1)!);
  console.log(`| ${reward} | ${[first, last, learnt, called].map((values) => interval(values)).join(' | ')} |`);
}
const differences = (what: 'right' | 'called') =>
  SEEDS.map((seed) => results[`right ${seed}`]![what].at(-1)! - results[`random ${seed}`]![what].at(-1)!);
console.log(
  `\nMore than the control at last: right ${interval(differences('right'))}, called ${interval(differences('called'))}`,
);
