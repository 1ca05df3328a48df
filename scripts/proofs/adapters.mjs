// The door of adapters: methods of every kind are trained, killed, resumed, and read again from the folder that they
// were saved to.
import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LocalGenerator } from '@posttrain/lm';
import {
  adaLora,
  createAdapter,
  houlsby,
  lnTuning,
  loadAdapter,
  loftq,
  lora,
  prefixTuning,
  promptTuning,
  saveAdapter,
  vera,
  xLora,
} from '@posttrain/peft';
import { testPeftMethod } from '@posttrain/peft/testing';
import { policyObjectives, trainPolicy } from '@posttrain/rl';
import { sft } from '@posttrain/training';
import { it, trainingProof } from './proof.mjs';
import { numbersOf, rows, tinyModel } from './tiny.mjs';

const model = await tinyModel();
const target = { targetModules: 'all-linear' };
const methods = {
  VeRA: [vera, { r: 4, targetModules: ['q_proj', 'v_proj'] }],
  'prefix tuning': [prefixTuning, { numVirtualTokens: 3 }],
  'prompt tuning': [promptTuning, { numVirtualTokens: 3 }],
  Houlsby: [houlsby, { bottleneckSize: 4 }],
  'LN tuning': [lnTuning, {}],
  PiSSA: [lora, { ...target, r: 2, useRslora: true, initLoraWeights: 'pissa' }],
  AdaLoRA: [adaLora, { ...target, initR: 4, targetR: 2, totalStep: 4, tinit: 1, tfinal: 1, deltaT: 1 }],
  'X-LoRA': [xLora, { adapters: await twoLoras() }],
};
for (const [name, [method, config]] of Object.entries(methods)) {
  trainingProof(
    name,
    async (run) => {
      const adapter = await createAdapter(model, method, config, { seed: 1 });
      return sft({ ...run, model, adapter, rows, batchSize: 2, steps: 4, learningRate: 1e-2 });
    },
    async ({ adapter }) => {
      const folder = mkdtempSync(join(tmpdir(), 'posttrain-adapter-'));
      await saveAdapter(folder, adapter);
      const again = await loadAdapter(model, folder);
      const said = async (of) =>
        (
          await new LocalGenerator(model, { adapter: () => of }).generate([
            { prompt: 'a', maxTokens: 4, temperature: 0 },
          ])
        )[0][0].text;
      assert.equal(await said(again), await said(adapter));
      const start = await createAdapter(model, method, config, { seed: 1 });
      assert.notDeepEqual(await numbersOf(adapter.parameters), await numbersOf(start.parameters), 'nothing was learnt');
    },
  );
}

const near = await loftq(model, { ...target, r: 2, loraAlpha: 2 }, { iterations: 2, seed: 1 });
trainingProof(
  'LoftQ over its base in NF4',
  (run) => sft({ ...run, model: near.model, adapter: near.adapter, rows, batchSize: 2, steps: 4, learningRate: 1e-2 }),
  async ({ adapter }) => {
    for (const { base, withAdapter } of Object.values(near.errors))
      assert.ok(withAdapter < base, 'no nearer than QLoRA');
    assert.notDeepEqual(await numbersOf(adapter.parameters), await numbersOf(near.adapter.parameters));
  },
);

trainingProof(
  'GRPO of PiSSA begins at its reference',
  async (run) => {
    const adapter = await createAdapter(model, ...methods.PiSSA, { seed: 1 });
    const rewards = { short: (text) => -text.length };
    const objective = policyObjectives.grpo({ beta: 0.1 });
    const options = {
      promptsPerStep: 2,
      completionsPerPrompt: 4,
      maxCompletionLength: 4,
      steps: 3,
      learningRate: 1e-2,
    };
    return trainPolicy({ ...run, ...options, model, adapter, rows, rewards, objective });
  },
  ({ history }) => {
    const [first, ...later] = history.map(({ metrics }) => metrics.kl);
    assert.ok(Math.abs(first) < 1e-6 && later.at(-1) > 1e-6, `KL ${[first, ...later]}`);
  },
);

async function twoLoras() {
  const folders = ['loras/0', 'loras/1']; // part of what the adapter is, so the same in a run that is resumed
  for (const [seed, folder] of folders.entries()) {
    const config = { ...target, r: 2, initLoraWeights: false };
    await saveAdapter(folder, await createAdapter(model, lora, config, { seed }));
  }
  return Object.fromEntries(folders.map((folder, i) => [i, folder]));
}

if (process.argv.length === 2)
  testPeftMethod(it, vera, { r: 4, targetModules: ['q_proj', 'v_proj'] }, { modelTypes: ['llama'] });
