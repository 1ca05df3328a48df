// The door of a fleet: two servers of ours over HTTP, adapters that they load from a folder, and rollouts that run ahead of learning.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { vllmServer } from '@posttrain/openai';
import { createAdapter, lora } from '@posttrain/peft';
import {
  fleetRollouts,
  partialRollouts,
  policyObjectives,
  tokenRatio,
  trainPolicy,
  truncatedImportance,
} from '@posttrain/rl';
import { createServer, localModels } from '@posttrain/serve';
import { trainingProof } from './proof.mjs';
import { rows, tinyModel } from './tiny.mjs';

const vowels = (text) => [...text].filter((letter) => 'aeiou'.includes(letter)).length / 6;
const options = {
  ...{ promptsPerStep: 2, completionsPerPrompt: 4, maxCompletionLength: 6, steps: 4, learningRate: 1e-2 },
  ...{ oldLogProbs: 'recomputed', rewards: { vowels }, rows },
};
const objective = () => ({ ...policyObjectives.dapo(), ratio: truncatedImportance(tokenRatio()) });

trainingProof(
  'GRPO whose rollouts come from two servers, two steps ahead',
  async (run) => {
    const model = await tinyModel();
    const folder = mkdtempSync(join(tmpdir(), 'posttrain-fleet-'));
    const served = [1, 2].map(() => createServer(localModels('tiny', model), { adapterFolder: folder }));
    try {
      const urls = await Promise.all(served.map((server) => server.listen({ port: 0 })));
      const servers = urls.map((url) => vllmServer({ baseURL: `${url}/v1` }));
      const adapter = await createAdapter(model, lora, { r: 2, targetModules: 'all-linear' }, { seed: 1 });
      const rollouts = fleetRollouts({ servers, folder });
      return await trainPolicy({
        ...run,
        ...options,
        model,
        adapter,
        objective: objective(),
        rollouts,
        maxStaleness: 2,
      });
    } finally {
      await Promise.all(served.map((server) => server.drain({ deadline: 0 })));
      rmSync(folder, { recursive: true, force: true });
    }
  },
  ({ history }) => {
    assert.deepEqual(
      history.map(({ metrics }) => metrics['rollouts/staleness']),
      [0, 1, 2, 2],
    );
  },
);

trainingProof('GRPO with completions that go on over several steps', async (run) =>
  trainPolicy({
    ...{ ...run, ...options, model: await tinyModel(), objective: objective() },
    rollouts: partialRollouts({ segmentTokens: 2 }),
  }),
);
