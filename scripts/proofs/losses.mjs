// The door of losses: a reward model, a teacher's likeliest tokens, a loss that sorts a whole step, and sequences of
// numbers.
import assert from 'node:assert/strict';
import { SequenceClassifier } from '@posttrain/lm';
import {
  DecisionTransformer,
  play,
  preferenceLosses,
  returnConditioned,
  returnOf,
  trainDecisionTransformer,
  trainPreferences,
} from '@posttrain/rl';
import { distill, rewardModelLosses, trainRewardModel } from '@posttrain/training';
import { testLoss } from '@posttrain/training/testing';
import { gridworld } from './gridworld.mjs';
import { it, proof, trainingProof } from './proof.mjs';
import { numbersOf, rows, tinyModel } from './tiny.mjs';

trainingProof('Bradley-Terry reward model', async (run) => {
  const model = await SequenceClassifier.fromCausalLM(await tinyModel(), { labels: 1 });
  const loss = rewardModelLosses.bradleyTerry({ centerRewardsCoefficient: 0.01 });
  return trainRewardModel({ ...run, model, rows, loss, batchSize: 2, learningRate: 1e-2 });
});

trainingProof(
  'Plackett-Luce reward model',
  async (run) => {
    const model = await SequenceClassifier.fromCausalLM(await tinyModel(), { labels: 1 });
    const rankings = rows.map(({ prompt }) => ({ prompt, completions: ['x', 'y', 'z'], ranks: [2, 1, 3] }));
    const loss = rewardModelLosses.plackettLuce();
    return trainRewardModel({ ...run, model, rows: rankings, loss, epochs: 8, batchSize: 6, learningRate: 2e-2 });
  },
  async ({ trainer }) => {
    const asked = ['x', 'y', 'z'].map((completion) => ({ prompt: rows[0].prompt, completion }));
    const [x, y, z] = (await trainer.model.verifier().verify(asked)).map(({ score }) => score);
    assert.ok(y > x && x > z, `${[x, y, z]}`);
  },
);

trainingProof('top-k distillation', async (run) => {
  const [model, teacher] = [await tinyModel(1), await tinyModel(2)];
  const options = {
    topK: 4,
    lmbda: 0.5,
    beta: 0.5,
    maxCompletionLength: 4,
    batchSize: 2,
    steps: 3,
    learningRate: 1e-2,
  };
  return distill({ ...run, ...options, model, teacher, rows });
});

const aot = async (run) => {
  const model = await tinyModel();
  return trainPreferences({
    ...run,
    model,
    rows,
    loss: preferenceLosses.aot(),
    batchSize: 6,
    steps: 3,
    learningRate: 1e-2,
  });
};
trainingProof('AOT', aot);

proof('AOT over micro-batches is AOT over the whole step', async () => {
  const parameters = async (maxTokensPerPass) =>
    numbersOf((await aot({ maxTokensPerPass, optimizer: 'sgd' })).trainer.parameters);
  const [whole, split] = [await parameters(4096), await parameters(8)];
  assert.ok(whole.every((x, i) => Math.abs(x - split[i]) < 1e-5));
});

trainingProof(
  'Decision Transformer',
  async (run) => {
    const policy = { name: 'random', act: (_, keys) => keys.map((key) => Math.floor(4 * key.uniformHost(1)[0])) };
    const trajectories = await play({ environment: gridworld, policy, episodes: 20, maxSteps: 8, seed: 1 });
    const shape = { state_dim: 4, act_dim: 4, discrete_actions: true, max_ep_len: 8 };
    const model = await DecisionTransformer.initialize({ ...shape, hidden_size: 16, n_layer: 1, n_head: 2 });
    return trainDecisionTransformer({ ...run, model, trajectories, steps: 4, contextLength: 4, batchSize: 8 });
  },
  async ({ model }) => {
    const policy = returnConditioned(model, { targetReturn: 1, contextLength: 4 });
    const played = await play({ environment: gridworld, policy, episodes: 4, maxSteps: 8, seed: 2 });
    assert.ok(played.map(returnOf).every(Number.isFinite));
  },
);

if (process.argv.length === 2) testLoss(it, 'Bradley-Terry', rewardModelLosses.bradleyTerry(), { head: 'sequence' });
