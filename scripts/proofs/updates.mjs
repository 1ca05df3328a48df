// The door of updates: a trust region, gradients of rows that are private, and clients whose rows stay with them.
import assert from 'node:assert/strict';
import { createAdapter, lora, withAdapterParameters } from '@posttrain/peft';
import { policyObjectives, trainPolicy } from '@posttrain/rl';
import { dpSgd, fedAvg, fedProx, secureAggregation, sft } from '@posttrain/training';
import { proof, trainingProof } from './proof.mjs';
import { numbersOf, rows, tinyModel } from './tiny.mjs';

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

proof('two clients of one adapter, whose changes the server sees the sum of', async () => {
  const model = await tinyModel();
  const start = await createAdapter(model, lora, { r: 2, targetModules: 'all-linear' }, { seed: 1 });
  const lossOf = new Map();
  const client =
    (name, own) =>
    async ({ parameters, round }) => {
      const adapter = withAdapterParameters(start, parameters);
      const given = { model, adapter, rows: own, batchSize: 3, steps: 4, learningRate: 2e-2, schedule: 'constant' };
      const { trainer, history } = await sft({ ...given, penalties: [fedProx(parameters, { mu: 0.01 })] });
      lossOf.set(`${name} ${round}`, history[0].metrics.loss);
      return { parameters: await trainer.copyParameters(), examples: own.length };
    };
  const clients = { a: client('a', rows.slice(0, 3)), b: client('b', rows.slice(3)) };
  const options = { parameters: start.parameters, clients, rounds: 3 };
  const seen = await fedAvg(options);
  for (const name of Object.keys(clients)) {
    const [first, last] = [lossOf.get(`${name} 0`), lossOf.get(`${name} 2`)];
    assert.ok(last < first, `${name}: ${first}, then ${last}`);
  }
  const masked = await fedAvg({ ...options, aggregation: secureAggregation() });
  const [open, hidden] = [await numbersOf(seen.parameters), await numbersOf(masked.parameters)];
  const apart = Math.max(...open.map((x, i) => Math.abs(x - hidden[i])));
  assert.ok(apart > 0 && apart < 1e-3, `${apart}`);
});
