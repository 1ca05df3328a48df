import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CausalLM, parseModelConfig, Tokenizer } from '@posttrain/lm';

/** A model with random weights, from its config.json. The measurements work on token ids, so that any tokenizer will do. */
export async function randomModel(config: Readonly<Record<string, unknown>>): Promise<CausalLM> {
  const folder = mkdtempSync(join(tmpdir(), 'posttrain-random-model-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(
    join(folder, 'tokenizer.json'),
    JSON.stringify({ version: '1.0', added_tokens: [], model: { type: 'BPE', vocab: { a: 0, b: 1 }, merges: [] } }),
  );
  const tokenizer = await Tokenizer.load(folder);
  return CausalLM.initialize({ config: parseModelConfig(config), tokenizer, name: 'random' }, 0);
}
