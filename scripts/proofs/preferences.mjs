// The door of preferences: single completions, odds, rewards without a reference, and pairs that the policy has just
// made.
import { onlinePairs, preferenceLosses, trainPreferences } from '@posttrain/rl';
import { testPreferenceLoss } from '@posttrain/rl/testing';
import { it, trainingProof } from './proof.mjs';
import { rows, tinyModel } from './tiny.mjs';

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

/** Rows of one format have the columns of no other. */
function rowsFor(name) {
  return rows.map(({ prompt, completion, chosen, rejected, label }) =>
    name === 'kto' ? { prompt, completion, label } : { prompt, chosen, rejected },
  );
}

if (process.argv.length === 2) testPreferenceLoss(it, preferenceLosses.simpo());
