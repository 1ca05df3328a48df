import { realize, type Tensor } from '@posttrain/core-tensor';
import { ValueModel } from '@posttrain/lm';
import { copyState, splitState } from '@posttrain/training';
import {
  type Annotator,
  type Critic,
  criticValues,
  difficultyCurriculum,
  groupNormalized,
  importanceWeighted,
  namedReward,
  policyObjectives,
  prioritizedReplay,
  restartBuffer,
  rolloutField,
  tokenRatio,
  trainPolicy,
  truncatedImportance,
  valueModelCritic,
} from '../src/index.js';
import { fractionOfC, prompts, toyModel } from './toy.js';

/** Values by how many tokens came before: a running mean of the returns there. */
export function tableCritic(): Critic & { readonly table: number[] } {
  const table = new Array<number>(32).fill(0);
  return {
    name: 'table',
    settings: {},
    table,
    values: async (sequences) => sequences.map((tokens) => tokens.map((_, t) => table[t]!)),
    async learn(examples) {
      for (const { at, returns } of examples) {
        at.forEach((t, i) => {
          table[t] = 0.9 * table[t]! + 0.1 * returns[i]!;
        });
      }
    },
    state: () => [...table],
    load: (state) => {
      (state as number[]).forEach((value, t) => {
        table[t] = value;
      });
    },
  };
}

/** PPO with critics on rows that a restart buffer gives: a trainer of its own, and two parts that have a state. */
export async function statefulRun(outputFolder: string, onStep: (step: number) => void = () => {}) {
  const [model, table] = [await toyModel(1), tableCritic()];
  const critic = await valueModelCritic(await ValueModel.fromCausalLM(model), { learningRate: 0.01, vfCoef: 1 });
  let restarts = 0;
  // A step ends with the letter a.
  const rows = restartBuffer(prompts, { stepTokens: [0], probability: 0.6, capacity: 8 });
  const { trainer, history } = await trainPolicy({
    model,
    rows: {
      ...rows,
      async next(request) {
        const given = await rows.next(request);
        restarts += given.filter(({ promptTokens }) => promptTokens).length;
        return given;
      },
    },
    objective: {
      ...policyObjectives.ppo({ critic, beta: 0 }),
      // A table learns beside the value model, whose values count.
      annotators: [criticValues(table), criticValues(critic)],
      ratio: truncatedImportance(tokenRatio()),
    },
    // Named, since the child and the test compile its text differently.
    rewards: { fraction_of_c: namedReward('halves', {}, (text) => Math.round(fractionOfC(text) * 2) / 2) },
    ...{ steps: 6, promptsPerStep: 4, completionsPerPrompt: 4, maxCompletionLength: 5, oldLogProbs: 'recomputed' },
    ...{ learningRate: 0.03, seed: 9, outputFolder, saveSteps: 2, resume: true },
    onLog: ({ step }) => onStep(step),
  });
  const numbers = [trainer, critic.trainer].map(({ parameters }) =>
    Promise.all(Object.entries(parameters).map(async ([name, p]) => [name, await p.toArray()] as const)),
  );
  return { all: JSON.stringify([await Promise.all(numbers), table.table, rows.state!()]), restarts, history };
}

/** GRPO on rows that a curriculum draws. */
export async function curriculumRun(outputFolder: string, onStep: (step: number) => void = () => {}) {
  const rows = difficultyCurriculum(prompts, { outsideWeight: 0.02, solvedAbove: 0.2 });
  const { trainer } = await trainPolicy({
    ...{ model: await toyModel(1), rows, objective: policyObjectives.grpo() },
    rewards: { fraction_of_c: namedReward('fraction', {}, fractionOfC) },
    ...{ steps: 6, promptsPerStep: 3, completionsPerPrompt: 4, maxCompletionLength: 5, learningRate: 0.03, seed: 9 },
    ...{ outputFolder, saveSteps: 2, resume: true },
    onLog: ({ step }) => onStep(step),
  });
  const numbers = Object.entries(trainer.parameters).map(async ([name, p]) => [name, await p.toArray()] as const);
  return { all: JSON.stringify([await Promise.all(numbers), rows.state!()]), rates: rows.state!() as unknown[] };
}

/** An average of the policy's embeddings over the steps, which every rollout is given the mean of. */
function averageOfWeights(): Annotator & { average?: Tensor } {
  const field = rolloutField('test.average', { per: 'rollout' });
  const own: Annotator & { average?: Tensor } = {
    ...{ name: 'average', settings: {}, gives: [field.need] },
    async annotate(rollouts, { model }) {
      const now = model.weights['model.embed_tokens.weight']!;
      own.average = own.average ? own.average.mul(0.9).add(now.mul(0.1)) : now.add(0);
      await realize([own.average]);
      const mean = await own.average.mean().item();
      return rollouts.map((rollout) => field.on(rollout, mean));
    },
    state: () => ({ average: own.average ?? null }),
    load(state) {
      const { average } = state as { average: Tensor | null };
      if (average) own.average = average;
    },
  };
  return own;
}

/** GRPO with prioritised replay of what earlier policies said, and an average of weights: states with arrays and a tensor. */
export async function replayRun(outputFolder: string, onStep: (step: number) => void = () => {}) {
  const rollouts = prioritizedReplay({ probability: 0.5, capacity: 8, beta: 1 });
  const average = averageOfWeights();
  const { trainer, history } = await trainPolicy({
    ...{ model: await toyModel(1), rows: prompts, rollouts, oldLogProbs: 'recomputed' },
    objective: {
      ...policyObjectives.dapo(),
      advantage: importanceWeighted(groupNormalized()),
      annotators: [average],
      ratio: truncatedImportance(tokenRatio()),
    },
    rewards: { fraction_of_c: namedReward('fraction', {}, fractionOfC) },
    ...{ steps: 6, promptsPerStep: 3, completionsPerPrompt: 4, maxCompletionLength: 5, learningRate: 0.03, seed: 9 },
    ...{ outputFolder, saveSteps: 2, resume: true },
    onLog: ({ step }) => onStep(step),
  });
  const numbers = Object.entries(trainer.parameters).map(async ([name, p]) => [name, await p.toArray()] as const);
  const { json, tensors } = splitState(
    await copyState({ buffer: await rollouts.state!(), average: average.average }, 'it'),
  );
  const stored = Object.entries(tensors).map(async ([name, x]) => [name, await x.toArray()] as const);
  return { all: JSON.stringify([await Promise.all(numbers), json, await Promise.all(stored)]), history };
}

/** SDPO whose teacher is an average of the policy's weights. */
export async function selfDistillationRun(outputFolder: string, onStep: (step: number) => void = () => {}) {
  const objective = policyObjectives.sdpo({
    ...{ distillationMode: 'logits', topK: 8, teacher: 'ema', teacherUpdateRate: 0.3, successRewardThreshold: 0.25 },
    // The toy tokenizer has letters only.
    ...{ repromptTemplate: '{solution}{prompt}', solutionTemplate: '{successful_previous_attempt}' },
  });
  const { trainer, history } = await trainPolicy({
    ...{ model: await toyModel(1), rows: prompts, objective },
    rewards: { fraction_of_c: namedReward('fraction', {}, fractionOfC) },
    ...{ steps: 4, promptsPerStep: 2, completionsPerPrompt: 8, maxCompletionLength: 4, learningRate: 0.03, seed: 9 },
    ...{ outputFolder, saveSteps: 2, resume: true },
    onLog: ({ step }) => onStep(step),
  });
  const numbers = Object.entries(trainer.parameters).map(async ([name, p]) => [name, await p.toArray()] as const);
  return { all: JSON.stringify(await Promise.all(numbers)), history };
}

const RUNS = {
  ...{ stateful: statefulRun, curriculum: curriculumRun, replay: replayRun },
  'self-distillation': selfDistillationRun,
};

const [, script, folder, killAt, which = 'stateful'] = process.argv;
if (script === import.meta.filename) {
  await RUNS[which as keyof typeof RUNS](folder!, (step) => {
    if (step === Number(killAt)) process.kill(process.pid, 'SIGKILL');
  });
}
