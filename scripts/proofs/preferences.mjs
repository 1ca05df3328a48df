// The door of preferences: single completions, odds, rewards without a reference, and pairs that the policy has just
// made; and every loss there is, stopped and gone on with.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { densityRatio, pipeline } from '@posttrain/data';
import { onlinePairs, preferenceLosses, trainPreferences } from '@posttrain/rl';
import { testPreferenceLoss } from '@posttrain/rl/testing';
import { it, proof, trainingProof } from './proof.mjs';
import { numbersOf, rows, tinyModel } from './tiny.mjs';

const options = { batchSize: 4, steps: 3, learningRate: 1e-2 };
for (const name of ['kto', 'orpo', 'simpo']) {
  trainingProof(name, async (run) =>
    trainPreferences({
      ...run,
      ...options,
      model: await tinyModel(),
      rows: rowsFor(name),
      loss: preferenceLosses[name](),
    }),
  );
}

trainingProof('online DPO', async (run) => {
  const rewards = { early: (text) => -(text.codePointAt(0) ?? 0) };
  const pairs = onlinePairs({ rows, rewards, maxCompletionLength: 4 });
  return trainPreferences({
    ...run,
    ...options,
    model: await tinyModel(),
    rows: pairs,
    loss: preferenceLosses.sigmoid(),
  });
});

proof('every loss goes on from a checkpoint as if nothing had stopped it, bit for bit', async (folder) => {
  // Prompts as vectors: what they begin with.
  const embedder = {
    name: 'letters',
    embed: async (texts) => texts.map((text) => Float32Array.of((text.codePointAt(0) ?? 0) % 7, text.length)),
  };
  const weighted = await pipeline(
    rows.map(({ prompt, completion, label }) => ({ prompt, completion, label })),
    [densityRatio({ embedder })],
  ).collect();
  const kinds = {
    pairs: rows.map(({ prompt, chosen, rejected }, i) => ({
      ...{ prompt, chosen, rejected, is_chosen_safe: i % 2 === 0, is_rejected_safe: i % 3 === 0 },
      is_reference_chosen: i % 2 === 1,
    })),
    unpaired: weighted.map((row, i) => ({ ...row, preference: (i % 4) / 4 })),
    ranked: rows.map(({ prompt, chosen, rejected, completion }) => ({
      ...{ prompt, completions: [chosen, rejected, `${completion}.`, `${rejected}.`], scores: [1, 0, 1, 0.5] },
    })),
  };
  const model = await tinyModel();
  const made = { ...preferenceLosses, bco: () => preferenceLosses.bco({ matchUnderlyingDistribution: true }) };
  for (const [name, make] of Object.entries(made)) {
    const loss = make();
    const start = (more) =>
      trainPreferences({ ...options, steps: 2, model, rows: kinds[loss.kind ?? 'pairs'], loss, saveSteps: 1, ...more });
    const whole = await start({ outputFolder: join(folder, `${name} whole`) });
    const stopped = { outputFolder: join(folder, `${name} stopped`) };
    await start({ ...stopped, afterStep: ({ step, stop }) => (step === 0 ? stop() : undefined) });
    const resumed = await start({ ...stopped, resume: true });
    const [one, other] = [resumed, whole].map(({ trainer }) => numbersOf(trainer.parameters));
    assert.deepEqual(await one, await other, name);
    assert.notDeepEqual(await other, await numbersOf(model.weights), `${name} learnt nothing`);
  }
});

/** Rows of one format have the columns of no other. */
function rowsFor(name) {
  return rows.map(({ prompt, completion, chosen, rejected, label }) =>
    name === 'kto' ? { prompt, completion, label } : { prompt, chosen, rejected },
  );
}

if (process.argv.length === 2) testPreferenceLoss(it, preferenceLosses.simpo());
