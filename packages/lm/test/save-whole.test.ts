import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mapNamed } from '@posttrain/core-tensor/optim';
import { expect, it, onTestFinished } from 'vitest';
import { countChanges, failingAt, killedAt } from '../../../testing/crash.js';
import { CausalLM, parseModelConfig, Tokenizer } from '../src/index.js';

const config = parseModelConfig({
  model_type: 'llama',
  vocab_size: 8,
  hidden_size: 4,
  intermediate_size: 4,
  num_hidden_layers: 1,
  num_attention_heads: 1,
  max_position_embeddings: 8,
});
const tokenizer = new Tokenizer({
  tokenizer: { version: '1.0', added_tokens: [], model: { type: 'BPE', vocab: { a: 0, b: 1 }, merges: [] } },
  config: { model_max_length: 8 },
});

it('a model over an older one, with fewer shards, is the old or the new wherever the process is killed or the disk full', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'save-whole-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const before = await CausalLM.initialize({ config, tokenizer, name: 'before' }, 1);
  const after = before.withWeights(mapNamed(before.weights, (weight) => weight.mul(2).add(1)));
  const [old, current] = [join(folder, 'old'), join(folder, 'current')];
  await before.save(old, { maxShardBytes: 200 });
  const save = () => after.save(current, { maxShardBytes: 400 });
  const valuesIn = async (path: string) => {
    const { weights } = await CausalLM.load(path);
    return JSON.stringify(await Promise.all(Object.values(weights).map((weight) => weight.toArray())));
  };
  const reset = async () => {
    await rm(current, { recursive: true, force: true });
    await cp(old, current, { recursive: true });
  };
  await reset();
  const points = await countChanges(save);
  const [was, is] = [await valuesIn(old), await valuesIn(current)];
  const names = (await readdir(current)).sort();
  expect(names).not.toContain('model-00001-of-00007.safetensors');
  const seen = new Set<string>();
  for (let at = 0; at < points; at++) {
    await reset();
    if (at % 2 === 0) await killedAt(at, save);
    else await failingAt(at, 'ENOSPC', save).catch((error: unknown) => expect(String(error)).toMatch(/ENOSPC/));
    const found = await valuesIn(current);
    expect([was, is], `change ${at} of ${points}`).toContain(found);
    seen.add(found);
    if (found === is) expect((await readdir(current)).filter((name) => !name.startsWith('.')).sort()).toEqual(names);
  }
  expect(seen.size).toBe(2);
});
