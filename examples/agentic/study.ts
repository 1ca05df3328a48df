// A model with random weights learns to use a calculator and to say what it said, beside the same run on a reward that says nothing, with three seeds. Cells that
// `results/curves.json` has are not run again.
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
import { cellsOf } from '../background-rl/cells.js';
import { interval, table } from '../background-rl/tables.js';

const SYMBOLS = [...'01234+=ut'];
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
// Where a reply begins nothing is written, so that what the tool said is what stands right before the answer.
const template =
  "{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content }}</s>{% elif m.role == 'tool' %}t{{ m.content }}" +
  '{% else %}u{{ m.content }}{% endif %}{% endfor %}';
const config = parseModelConfig({
  ...{ model_type: 'llama', vocab_size: END + 1, hidden_size: 16, intermediate_size: 16, num_hidden_layers: 1 },
  ...{ num_attention_heads: 2, max_position_embeddings: 32, initializer_range: 0.2, eos_token_id: END },
});
const modelOf = (seed: number) =>
  CausalLM.initialize({ config, tokenizer, chatTemplate: new ChatTemplate(tokenizer, template), name: 'digits' }, seed);

/** A sum for each of five answers, all of them in every step. Only the calculator has the numbers: who does not call it can guess, and is right a fifth of the time. */
const rows: CalculatorRow[] = [0, 1, 2, 3, 4].map((answer) => {
  const a = Math.floor(answer / 2);
  return { prompt: '+', expression: `${a}+${answer - a}`, answer };
});

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
const STEPS = 112;

/** Every eighth step: the share of right answers, and of episodes that called. */
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
      .map(({ metrics }) => metrics[`rewards/${name}/mean`]!)
      .filter((_, step) => step % 8 === 0 || step === STEPS - 1);
  return { right: curveOf('right'), called: curveOf('called') };
}

const { ofSeeds } = cellsOf(join(import.meta.dirname, 'results'));
const [right, random] = [
  await ofSeeds('curves', 'right', (seed) => cell('right', seed)),
  await ofSeeds('curves', 'random', (seed) => cell('random', seed)),
];
const last = (curves: readonly Curve[], what: keyof Curve) => curves.map((curve) => curve[what].at(-1)!);
table(
  ['reward', 'right at first', 'right at last', 'learnt', 'called at last'],
  [right, random].map((curves, i) => {
    const first = curves.map((curve) => curve.right[0]!);
    const learnt = last(curves, 'right').map((value, seed) => value - first[seed]!);
    return [REWARDS[i]!, ...[first, last(curves, 'right'), learnt, last(curves, 'called')].map((of) => interval(of))];
  }),
);
const apart = (what: keyof Curve) => {
  const control = last(random, what);
  return interval(last(right, what).map((value, seed) => value - control[seed]!));
};
console.log(`\nMore than the control at last: right ${apart('right')}, called ${apart('called')}`);
