/**
 * The loops of this folder, on the small model of this repository: `npx tsx examples/loops/run.ts [sft|dpo|grpo|ppo|distill]`, all of
 * them without a name. See README.md.
 */
import { PosttrainError } from '@posttrain/interfaces';
import { mergeAdapter } from '@posttrain/peft';
import { distillLoop } from './distill.js';
import { dpoLoop } from './dpo.js';
import { grpoLoop } from './grpo.js';
import { ppoLoop } from './ppo.js';
import { sftLoop } from './sft.js';
import { isRight, loadModel, newAdapter, sums, tunedAdapter } from './task.js';

const model = await loadModel();
const shared = { model, seed: 0 };

const say =
  (every: number, text: (...numbers: number[]) => string) =>
  (step: number, ...numbers: number[]) => {
    if (step % every === 0) console.log(`  step ${String(step).padStart(3)}  ${text(...numbers)}`);
  };

const loss = (value?: number): string => `loss ${value!.toFixed(4)}`;

const loops: Record<string, () => Promise<unknown>> = {
  sft: async () => {
    const rows = sums(64);
    const onStep = say(4, loss);
    const settings = { epochs: 4, batchSize: 16, learningRate: 2e-3, maxLength: 64 };
    await sftLoop({ ...shared, ...settings, rows, adapter: await newAdapter(model), onStep });
  },
  dpo: async () => {
    const rows = sums(64);
    const onStep = say(4, loss);
    const settings = { beta: 0.3, epochs: 2, batchSize: 8, learningRate: 1e-3, maxLength: 64 };
    await dpoLoop({ ...shared, ...settings, rows, adapter: await newAdapter(model), onStep });
  },
  grpo: async () => {
    const onStep = say(4, (value, reward) => `${loss(value)}  reward ${reward!.toFixed(3)}`);
    const settings = { beta: 0, steps: 24, promptsPerStep: 16, completionsPerPrompt: 8, learningRate: 3e-3 };
    const of = { rows: sums(512), rewards: { right: isRight }, maxTokens: 44 };
    await grpoLoop({ ...shared, ...settings, ...of, adapter: await tunedAdapter(model), onStep });
  },
  ppo: async () => {
    const onStep = say(4, (value, reward) => `${loss(value)}  reward ${reward!.toFixed(3)}`);
    const settings = { beta: 0, discounts: { gamma: 1, lambda: 0.95 }, epochs: 2, steps: 24, learningRate: 3e-3 };
    const of = {
      rows: sums(512),
      rewards: { right: isRight },
      promptsPerStep: 16,
      completionsPerPrompt: 8,
      maxTokens: 44,
    };
    await ppoLoop({ ...shared, ...settings, ...of, adapter: await tunedAdapter(model), onStep });
  },
  distill: async () => {
    const { model: teacher } = await mergeAdapter(model, await tunedAdapter(model));
    const rows = sums(128).map(({ prompt }) => ({ prompt }));
    const settings = { beta: 0.5, epochs: 3, batchSize: 16, maxTokens: 44, learningRate: 3e-3 };
    await distillLoop({
      ...shared,
      ...settings,
      teacher,
      rows,
      adapter: await newAdapter(model),
      onStep: say(4, loss),
    });
  },
};

const [name, ...others] = process.argv.slice(2);
if (others.length > 0 || (name !== undefined && !(name in loops))) {
  throw new PosttrainError('LOOP', `give one of ${Object.keys(loops).join(', ')}, or nothing for all of them`);
}
for (const [loop, run] of Object.entries(loops)) {
  if (name !== undefined && name !== loop) continue;
  console.log(loop);
  await run();
}
