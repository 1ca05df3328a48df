// The door of sources and states: not to forget an earlier task, by rows that are generated, a penalty, or a
// projection.
import assert from 'node:assert/strict';
import { LocalGenerator } from '@posttrain/lm';
import {
  aGem,
  continualMethods,
  empiricalFisherDiagonal,
  ewc,
  generativeReplay,
  negativeLogLikelihood,
  runSteps,
  sft,
  sftStage,
  Trainer,
  tokenizeRows,
  toTrainingRows,
  trainStream,
} from '@posttrain/training';
import { proof, trainingProof } from './proof.mjs';
import { rows, tinyModel } from './tiny.mjs';

trainingProof('generative replay', async (run) => {
  const model = await tinyModel();
  const replayed = generativeReplay(rows, {
    generator: new LocalGenerator(model),
    generatorName: 'tiny',
    gamma: 1,
    prompts: ['a', 'b'],
    sampling: { maxTokens: 4 },
  });
  return sft({ ...run, model, rows: replayed, batchSize: 4, steps: 3, learningRate: 1e-2 });
});

const plain = { optimizer: 'sgd', maxGradNorm: 0 };
const lossOf = async (trainer, of) => (await trainer.evaluate(of, negativeLogLikelihood)).loss;

/** A loop of one's own: half of the rows are learnt after the other; how much more the loss of those is then. */
async function learnAfter(run, stage, ruleOf) {
  const start = await tinyModel();
  const [old, next] = [rows.slice(0, 3), rows.slice(3)].map((part) => toTrainingRows(tokenizeRows(start, part).rows));
  const earlier = await Trainer.create(start, plain);
  for (let step = 0; step < 5; step++) {
    await earlier.forwardBackward(old, negativeLogLikelihood);
    await earlier.optimStep({ learningRate: 0.3 });
  }
  const { model } = earlier;
  const trainer = await Trainer.create(model, plain);
  const rule = await ruleOf(trainer, old);
  const before = await lossOf(trainer, old);
  const step = async () => {
    const { loss } = await trainer.forwardBackward(next, negativeLogLikelihood);
    await trainer.optimStep({ learningRate: 0.02, ...(await rule()) });
    return { loss };
  };
  const settings = () => ({ rule: stage });
  await runSteps({ stage, trainer, model, adapter: undefined, steps: 40, settings, state: {}, step }, run);
  return (await lossOf(trainer, old)) - before;
}

/** A penalty, with its Fisher information of the earlier rows. */
const elastic = async (trainer, old) => {
  const anchors = await trainer.copyParameters();
  const penalty = ewc({
    anchors,
    fisher: await empiricalFisherDiagonal(trainer, old, negativeLogLikelihood),
    lambda: 10,
  });
  return () => ({ penalties: [penalty] });
};
/** The gradient of the new rows, turned away from what raises the loss of the earlier ones. */
const projected = (trainer, old) => async () => {
  const gradient = await trainer.takeGradients();
  await trainer.forwardBackward(old, negativeLogLikelihood);
  return { gradients: (await aGem(gradient, await trainer.takeGradients())).gradients };
};
for (const [name, rule] of Object.entries({ EWC: elastic, 'A-GEM': projected })) {
  trainingProof(
    name,
    (run) => learnAfter(run, name, rule),
    async (forgotten) => {
      const control = await learnAfter({}, 'plain', () => () => ({}));
      assert.ok(control > 0.1 && forgotten < 0.6 * control, `${forgotten} of ${control}`);
    },
  );
}

proof('SSR: what a base model writes keeps an earlier task, answered by what was learnt', async () => {
  const tasks = [rows.slice(0, 3), rows.slice(3)].map((part, i) => ({
    name: `${i}`,
    rows: part.map(({ prompt, completion }) => ({ prompt, completion })),
  }));
  const usage = { promptTokens: 1, completionTokens: 1 };
  const base = {
    name: 'letters',
    generate: async (requests) =>
      requests.map((_, i) => [{ text: ` ${'ace'[i % 3]}\nOutput: z`, finishReason: 'stop', usage }]),
  };
  const embedder = {
    name: 'code',
    embed: async (texts) => texts.map((text) => Float32Array.of(1, text.charCodeAt(0))),
  };
  const synthesis = { base, embedder, count: 3, clusters: 3, answers: { maxTokens: 2 } };
  const stage = sftStage({ steps: 30, batchSize: 4, learningRate: 1e-2, schedule: 'constant' });
  const lossAfter = async (method) => {
    const { matrix } = await trainStream({ model: await tinyModel(), tasks, stage, method });
    return matrix.loss[1][0];
  };
  const [control, kept] = [await lossAfter(continualMethods.naive()), await lossAfter(continualMethods.ssr(synthesis))];
  assert.ok(kept < 0.5 * control, `${kept} of ${control}`);
});
