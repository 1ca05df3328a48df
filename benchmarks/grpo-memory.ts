/**
 * Whether a run of GRPO stays as large as it is: a tiny model with random weights, prompts and completions of any length, 1,500 steps. Prints resident memory, the
 * JavaScript heap, how many graphs were compiled so far and how many of them are held, at some of the steps.
 *
 * usage: npx tsx --expose-gc benchmarks/grpo-memory.ts [--steps 1500] [--prompts 2] [--completions 4] [--tokens 24] [--threads 1]
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Engine, setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { createRandom } from '@posttrain/interfaces/random';
import { CausalLM, parseModelConfig, Tokenizer } from '@posttrain/lm';
import { policyObjectives, trainPolicy } from '@posttrain/rl';
import { MODEL_CONFIGS } from './cases.js';

const { values: flags } = parseArgs({
  options: {
    steps: { type: 'string', default: '1500' },
    prompts: { type: 'string', default: '2' },
    completions: { type: 'string', default: '4' },
    tokens: { type: 'string', default: '24' },
    threads: { type: 'string', default: '1' },
  },
});
const steps = Number(flags.steps);
const shown = new Set([10, 100, 250, 500, 750, 1000, 1250, 1500, 2000, 2500, 3000, steps]);

const graphs = { made: 0, held: 0 };
/** An engine that counts its graphs. */
function counted(inner: Engine): Engine {
  const compile: Engine['compile'] = async (...given) => {
    const executable = await inner.compile(...given);
    graphs.made++;
    graphs.held++;
    return {
      run: (inputs) => executable.run(inputs),
      dispose: () => {
        graphs.held--;
        return executable.dispose();
      },
    };
  };
  return Object.create(inner, { compile: { value: compile } }) as Engine;
}
setEngine(counted(onnxruntimeEngine({ threads: Number(flags.threads) })));

const tokenizer = await Tokenizer.load(join(import.meta.dirname, '../examples/pretrain-tiny/model'));
// Of so few tokens one in about a hundred is the end: lengths are free.
const config = parseModelConfig({ ...MODEL_CONFIGS.tiny, vocab_size: 103, eos_token_id: 5 });
const model = await CausalLM.initialize({ config, tokenizer, name: 'tiny' }, 0);
const random = createRandom(1, 'prompts');
const letters = (count: number) =>
  Array.from({ length: count }, () => String.fromCharCode(97 + random.integer(0, 25))).join('');
const rows = Array.from({ length: 500 }, () => ({ prompt: letters(random.integer(1, 60)) }));

let lengths: number[] = [];
console.log(
  '| step | resident, MB | heap, MB | graphs compiled | held | lengths of completions since |\n| --- | --- | --- | --- | --- | --- |',
);
await trainPolicy({
  ...{ model, rows, steps, promptsPerStep: Number(flags.prompts), completionsPerPrompt: Number(flags.completions) },
  ...{ maxCompletionLength: Number(flags.tokens), learningRate: 1e-5, schedule: 'constant' },
  objective: policyObjectives.grpo({ beta: 0.04 }),
  rewards: {
    even: (_, { completionTokens }) => {
      lengths.push(completionTokens.length);
      return completionTokens.filter((id) => id % 2 === 0).length / completionTokens.length;
    },
  },
  onWarning: () => {},
  afterStep: ({ step: index }) => {
    const step = index + 1;
    if (!shown.has(step)) return;
    globalThis.gc?.();
    const { rss, heapUsed } = process.memoryUsage();
    const megabytes = [rss, heapUsed].map((bytes) => (bytes / 2 ** 20).toFixed(0));
    const seen = `${new Set(lengths).size} (${Math.min(...lengths)} to ${Math.max(...lengths)})`;
    console.log(`| ${[step, ...megabytes, graphs.made, graphs.held, seen].join(' | ')} |`);
    lengths = [];
  },
});
