import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CausalLM, parseModelConfig, Tokenizer } from '@posttrain/lm';

/** A tokenizer with two tokens: the measurements work on token ids, so that any will do. */
export async function anyTokenizer(): Promise<Tokenizer> {
  const folder = mkdtempSync(join(tmpdir(), 'posttrain-tokenizer-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(
    join(folder, 'tokenizer.json'),
    JSON.stringify({ version: '1.0', added_tokens: [], model: { type: 'BPE', vocab: { a: 0, b: 1 }, merges: [] } }),
  );
  return Tokenizer.load(folder);
}

/** A model with random weights, from its config.json. */
export async function randomModel(config: Readonly<Record<string, unknown>>): Promise<CausalLM> {
  const parts = { config: parseModelConfig(config), tokenizer: await anyTokenizer(), name: 'random' };
  return CausalLM.initialize(parts, 0);
}
