import type { Generator } from '@posttrain/interfaces';
import { LocalGenerator } from '@posttrain/lm';
import { tinyPolicy } from '../../rl/src/testing/index.js';
import { generativeReplay, type SftOptions, sft } from '../src/index.js';

const textsOf = (cycle: string) =>
  [0, 1, 2].map((from) => ({ prompt: cycle[from]!, completion: cycle.repeat(3).slice(from + 1, from + 7) }));

/** Two tasks: a, b, c in a circle, and then g, f, e. */
export const tasks = { old: textsOf('abc'), next: textsOf('gfe') };

/** Learns the first task. */
export const learnt = async (seed: number) =>
  (
    await sft({
      ...{ model: await tinyPolicy(seed), rows: tasks.old, seed, steps: 40, batchSize: 3 },
      ...{ learningRate: 0.03, schedule: 'constant' },
    })
  ).trainer.model;

/** Learns the second task, with γ of what the model as it was before generates among its rows. */
export async function learnNext(seed: number, gamma: number, options: Partial<SftOptions> = {}) {
  const model = await learnt(seed);
  const rows = generativeReplay(tasks.next, {
    ...{ generator: new LocalGenerator(model), generatorName: `tiny ${seed}`, gamma, seed },
    prompts: ['a', 'b', 'c'],
    sampling: { maxTokens: 6, temperature: 0.5 },
  });
  const result = await sft({
    ...{ model, rows, seed, steps: 40, batchSize: 6, learningRate: 0.02, schedule: 'constant' },
    ...options,
  });
  return { ...result, rows };
}

/** Knows the letters of the first task, and no answer. */
const base: Generator = {
  name: 'scripted',
  generate: async (requests) =>
    requests.map((_, i) => {
      const text = ` ${'abc'[i % 3]}\nOutput: ?`;
      return [{ text, finishReason: 'stop', usage: { promptTokens: 1, completionTokens: 1 } }];
    }),
};
const embedder = {
  name: 'letters',
  embed: async (texts: readonly string[]) => texts.map((text) => Float32Array.of(1, text.charCodeAt(0))),
};
/** Of SSR, for tasks of three letters. */
export const synthesis = { base, embedder, count: 3, shots: 1, clusters: 2, answers: { maxTokens: 2 } };

// As a program: runs into a folder and kills itself at a step.
const [, script, folder, killAt] = process.argv;
if (script === import.meta.filename) {
  await learnNext(1, 1, {
    ...{ steps: 8, outputFolder: folder!, saveSteps: 2 },
    afterStep: ({ step }) => void (step === Number(killAt) && process.kill(process.pid, 'SIGKILL')),
  });
}
