/**
 * Peak memory of `mergeModels` beside what it is meant to need, the largest tensor of each model and 1 GiB:
 * `npx tsx benchmarks/merge-memory.ts [MEGABYTES METHOD …]`. Two fine-tunes of one base, random numbers in bfloat16 shards, made in a
 * temporary folder (four times MEGABYTES on disk, and as much again for the result); the merge has a process of its own. Fisher information
 * has the size of a model; Gram matrices are there for one weight, since RegMean's time grows with the cube of the width.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { saveSafetensors } from '@posttrain/core-tensor/io';
import { type MergeRecipe, mergeMethods, mergeModels } from '@posttrain/peft';

const MODELS = ['base', 'first', 'second'];
/** Numbers about both fine-tunes: how much each weight matters, and inputs that a weight meets. */
const [FISHER, GRAM] = ['fisher', 'gram'];
const [WIDTH, INNER, VOCABULARY] = [1024, 2816, 25_600];

const [first = '600', ...methods] = process.argv.slice(2);
if (first === 'child') await merge(methods as [string, string]);
else if (first === 'make') await make(methods);
else {
  const root = mkdtempSync(join(tmpdir(), 'posttrain-merge-'));
  process.once('exit', () => rmSync(root, { recursive: true, force: true }));
  const child = (...args: string[]) =>
    execFileSync(process.execPath, ['--import', 'tsx', fileURLToPath(import.meta.url), ...args], { encoding: 'utf8' });
  process.stdout.write(child('make', root, first));
  console.log('\n| method | peak | there before | promised | of the promise | seconds |');
  console.log('| --- | ---: | ---: | ---: | ---: | ---: |');
  for (const method of methods.length > 0 ? methods : Object.keys(mergeMethods))
    process.stdout.write(child('child', root, method));
}

/** A base and two others: an embedding of 50 MB and layers of the shape of Llama, as many as it takes. */
async function make([root, megabytes]: readonly string[]): Promise<void> {
  const [width, inner, vocabulary] = [WIDTH, INNER, VOCABULARY];
  const perLayer = 4 * width * width + 3 * width * inner + 2 * width;
  const count = Math.max(1, Math.round((Number(megabytes) * 1e6) / 2 / perLayer - (vocabulary * width) / perLayer));
  const shapes: Record<string, number[]> = { 'model.embed_tokens.weight': [vocabulary, width] };
  for (let i = 0; i < count; i++) {
    const at = `model.layers.${i}`;
    for (const name of ['q', 'k', 'v', 'o']) shapes[`${at}.self_attn.${name}_proj.weight`] = [width, width];
    for (const name of ['gate', 'up']) shapes[`${at}.mlp.${name}_proj.weight`] = [inner, width];
    shapes[`${at}.mlp.down_proj.weight`] = [width, inner];
    for (const name of ['input', 'post_attention']) shapes[`${at}.${name}_layernorm.weight`] = [width];
  }
  shapes['model.norm.weight'] = [width];
  const config = {
    ...{ model_type: 'llama', architectures: ['LlamaForCausalLM'], torch_dtype: 'bfloat16', tie_word_embeddings: true },
    ...{ vocab_size: vocabulary, hidden_size: width, intermediate_size: inner, num_hidden_layers: count },
    ...{ num_attention_heads: 16, num_key_value_heads: 16, max_position_embeddings: 2048, rms_norm_eps: 1e-5 },
  };
  // The same random numbers for all tensors, from another place in each.
  const largest = 2 * vocabulary * width;
  const numbers = randomBfloat16(largest / 2 + MODELS.length * Object.keys(shapes).length);
  for (const [m, name] of MODELS.entries()) {
    mkdirSync(join(root!, name));
    writeFileSync(join(root!, name, 'config.json'), JSON.stringify(config));
    writeShards(join(root!, name), shapes, numbers, m);
  }
  mkdirSync(join(root!, FISHER));
  const positive = numbers.map((bits) => bits & 0x7fff);
  writeShards(join(root!, FISHER), shapes, positive, 0);
  const gram = Float32Array.from({ length: width * width }, (_, at) => Number(at % (width + 1) === 0));
  mkdirSync(join(root!, GRAM));
  await saveSafetensors(join(root!, GRAM), [
    { name: 'model.layers.0.mlp.up_proj.weight', dtype: 'float32', shape: [width, width], data: async () => gram },
  ]);
  const bytes = Object.values(shapes).reduce((sum, shape) => sum + 2 * shape.reduce((a, b) => a * b), 0);
  console.log(`${MODELS.length} models of ${mib(bytes)} in shards of 95 MiB; the largest tensor is ${mib(largest)}`);
}

/** Random signs, mantissas and exponents: absolute values between 2⁻⁸ and 2⁻⁴. */
function randomBfloat16(size: number): Uint16Array {
  const bits = new Uint16Array(size);
  let state = 1;
  for (let i = 0; i < size; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bits[i] = ((state >>> 16) & 0x807f) | ((119 + ((state >>> 14) & 3)) << 7);
  }
  return bits;
}

/** Safetensors of about 95 MiB each with an index, as they are on the Hub; written without a tensor, for which there is no time. */
function writeShards(
  folder: string,
  shapes: Readonly<Record<string, readonly number[]>>,
  numbers: Uint16Array,
  m: number,
): void {
  const shards: {
    readonly name: string;
    readonly shape: readonly number[];
    readonly bytes: number;
    readonly from: number;
  }[][] = [[]];
  let filled = 0;
  for (const [i, [name, shape]] of Object.entries(shapes).entries()) {
    const bytes = 2 * shape.reduce((a, b) => a * b);
    if (filled > 0 && filled + bytes > 100e6) {
      shards.push([]);
      filled = 0;
    }
    shards.at(-1)!.push({ name, shape, bytes, from: MODELS.length * i + m });
    filled += bytes;
  }
  const weight_map: Record<string, string> = {};
  for (const [s, tensors] of shards.entries()) {
    const number = (n: number) => String(n).padStart(5, '0');
    const file = `model-${number(s + 1)}-of-${number(shards.length)}.safetensors`;
    let at = 0;
    const header: Record<string, object> = { __metadata__: { format: 'pt' } };
    for (const { name, shape, bytes } of tensors) {
      header[name] = { dtype: 'BF16', shape, data_offsets: [at, at + bytes] };
      at += bytes;
      weight_map[name] = file;
    }
    const json = Buffer.from(JSON.stringify(header).padEnd(Math.ceil(JSON.stringify(header).length / 8) * 8));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(json.length));
    const out = openSync(join(folder, file), 'w');
    for (const part of [length, json]) writeSync(out, part);
    for (const { from, bytes } of tensors) writeSync(out, new Uint8Array(numbers.buffer, 2 * from, bytes));
    closeSync(out);
  }
  writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify({ metadata: {}, weight_map }));
}

async function merge([root, method]: readonly [string, string]): Promise<void> {
  const [base, ...others] = MODELS.map((name) => join(root, name)) as [string, ...string[]];
  const output = join(root, `merged-${method}`);
  const { base: needs, models, options, modelOptions } = mergeMethods[method as keyof typeof mergeMethods];
  const merged = others.slice(0, ('max' in models ? models.max : undefined) ?? others.length);
  const values = { weight: 0.5, density: 0.5, t: 0.5, fisher: join(root, FISHER), gram: join(root, GRAM) };
  const known = { ...options.shape, ...modelOptions.shape };
  const recipe: MergeRecipe = {
    ...{ merge_method: method, dtype: 'bfloat16', models: merged.map((model) => ({ model })) },
    ...(needs === 'needed' && { base_model: base }),
    parameters: Object.fromEntries(Object.entries(values).filter(([name]) => name in known)),
  };
  const before = process.resourceUsage().maxRSS * 1024;
  const start = performance.now();
  await mergeModels(recipe, { output });
  const peak = process.resourceUsage().maxRSS * 1024;
  const seconds = (performance.now() - start) / 1000;
  const promised = (merged.length + Number(needs === 'needed')) * 2 * VOCABULARY * WIDTH + 2 ** 30;
  const cells = [mib(peak), mib(before), mib(promised), (peak / promised).toFixed(2), seconds.toFixed(0)];
  console.log(`| \`${method}\` | ${cells.join(' | ')} |`);
  rmSync(output, { recursive: true });
}

function mib(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}
