// The door of updates: a trust region, and gradients of rows that are private.
import assert from 'node:assert/strict';
import { policyObjectives, trainPolicy } from '@posttrain/rl';
import { dpSgd, sft } from '@posttrain/training';
import { trainingProof } from './proof.mjs';
import { rows, tinyModel } from './tiny.mjs';

const vowels = (text) => [...text].filter((letter) => 'aeiou'.includes(letter)).length / 4;
const policyRun = { promptsPerStep: 2, completionsPerPrompt: 4, maxCompletionLength: 4, steps: 3 };

trainingProof(
  'TRPO',
  async (run) => {
    const objective = policyObjectives.trpo({ maxKl: 0.01 });
    return trainPolicy({ ...run, ...policyRun, model: await tinyModel(), rows, rewards: { vowels }, objective });
  },
  ({ history }) => {
    const kls = history.map(({ metrics }) => metrics['trpo/kl']);
    assert.ok(kls.every((kl) => kl <= 0.01) && kls.some((kl) => kl > 0), `KL ${kls}`);
  },
);

trainingProof('DP-SGD', async (run) => {
  const update = dpSgd({ maxGradNorm: 1, noiseMultiplier: 0.5 });
  return sft({
    ...run,
    model: await tinyModel(),
    rows,
    update,
    batchSize: 3,
    steps: 3,
    learningRate: 1e-2,
    maxGradNorm: 0,
  });
});
