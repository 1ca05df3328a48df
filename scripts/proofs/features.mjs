// The door of interfaces: gradients of rows as features, of which those of equal rows are equal, projected or not.
import assert from 'node:assert/strict';
import { createAdapter, lora } from '@posttrain/peft';
import { rowGradients, Trainer } from '@posttrain/training';
import { proof } from './proof.mjs';
import { rows, tinyModel } from './tiny.mjs';

const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);
const cosine = (a, b) => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));

proof('gradients of rows say which rows are alike', async () => {
  const model = await tinyModel();
  const config = { r: 2, targetModules: 'all-linear', initLoraWeights: false };
  const adapter = await createAdapter(model, lora, config, { seed: 1 });
  const source = rowGradients(await Trainer.create(model, { adapter, optimizer: 'adamw_torch' }));
  const asked = [rows[0], rows[0], rows[3]].map(({ prompt, completion }) => ({ prompt, completion }));
  for (const options of [{}, { projection: 512, seed: 1 }, { of: 'hallucinated' }]) {
    const [one, same, other] = await source.gradients(asked, options);
    assert.equal(one.length, options.projection ?? one.length);
    assert.ok(Math.abs(cosine(one, same) - 1) < 1e-5 && cosine(one, other) < 0.999);
  }
});
