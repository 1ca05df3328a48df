import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { createServer, localModels } from '@posttrain/serve';
import { expect, it, onTestFinished } from 'vitest';
import { servedRandomModel } from './serving-model.js';
import { knownAnswers, soak } from './soak-clients.js';

it('200 requests of every kind: none lost, none mixed up, nothing left running', async () => {
  setEngine(onnxruntimeEngine());
  const model = await servedRandomModel({ hidden_size: 16, intermediate_size: 16, num_hidden_layers: 1 });
  const known = await knownAnswers(model, 12);
  const failures: unknown[] = [];
  const models = localModels('tiny', model, { maxBatch: 8, cacheTokens: 2048 });
  const server = createServer(models, { maxConcurrent: 8, maxBodyBytes: 65_536, onError: (it) => failures.push(it) });
  onTestFinished(() => server.drain({ deadline: 0 }));
  const { counts, wrong, stillRunning } = await soak(await server.listen({ port: 0 }), known, {
    requests: 200,
    clients: 12,
  });
  expect(wrong).toEqual([]);
  expect(failures).toEqual([]);
  expect(stillRunning).toBe(0);
  expect(Object.values(counts).reduce((a, b) => a + b)).toBe(200);
  for (const kind of [
    'whole: right',
    'streamed: right',
    'several samples: right',
    'leaves: left',
    'malformed: refused',
  ]) {
    expect(counts[kind], kind).toBeGreaterThan(0);
  }
});
