import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { referenceEngine } from '@posttrain/core-tensor';
import { onEngine } from '@posttrain/core-tensor/testing';
import { PosttrainError } from '@posttrain/interfaces';
import { parseEncoderConfig } from '../../src/config/index.js';
import { loadEncoderWeights } from '../../src/embed/bert-encoder.js';
import { isEncoder } from '../../src/embed/embedding-folder.js';
import { modelConfigToJson, parseModelConfig } from '../../src/index.js';
import { encoderNetwork } from '../../src/model/encoder.js';
import { sequenceLogits, tokenLogits } from '../../src/model/head.js';
import { loadWeights } from '../../src/model/weights.js';
import { passesOf, passInput } from '../../src/score/passes.js';
import { goldenFolder, temporaryFolder } from '../support.js';

type Json = Record<string, unknown>;

/** One alteration of a config.json. */
export interface Patch {
  readonly set?: Json;
  readonly drop?: readonly string[];
  /** What the reference computes at the last position then. */
  readonly logits?: readonly number[];
}

/** What `goldens/config-keys/make.py` writes of a family. */
export interface KeyTable {
  readonly config: Json;
  readonly ids: readonly number[];
  readonly logits: readonly number[];
  readonly same: readonly Patch[];
  readonly changed: readonly Patch[];
  readonly refused: readonly Patch[];
}

export const KEY_TABLES = [
  ...[
    'llama',
    'mistral',
    'mixtral',
    'qwen2',
    'qwen3',
    'qwen3-moe',
    'gpt2',
    'gemma2',
    'gemma3',
    'phi3',
    'olmo2',
    'bert',
  ],
  ...['roberta', 'xlm-roberta', 'modernbert', 'llama-classifier', 'gpt2-tokens'],
];

/** The families of `goldens/families`, whose tables are beside their weights. */
export const FAMILY_TABLES: readonly string[] = readdirSync(goldenFolder('families'), { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && existsSync(join(goldenFolder('families'), entry.name, 'keys.json')))
  .map(({ name }) => name);

const familyFile = (name: string, file: string): string => join(goldenFolder('families'), name, file);

export const readKeyTable = (name: string): KeyTable => {
  const own = familyFile(name, 'keys.json');
  const path = FAMILY_TABLES.includes(name) ? own : join(goldenFolder('config-keys'), `${name}.json`);
  return JSON.parse(readFileSync(path, 'utf8')) as KeyTable;
};

const weightsOf = (name: string): string =>
  FAMILY_TABLES.includes(name)
    ? familyFile(name, 'model.safetensors')
    : join(goldenFolder('config-keys'), `${name}.safetensors`);

/** A config without what it keeps to write keys again: that would tell apart what computes the same. */
const computed = (config: object): string => JSON.stringify({ ...config, keys: undefined });

const patched = ({ config }: KeyTable, { set = {}, drop = [] }: Patch): Json => ({
  ...Object.fromEntries(Object.entries(config).filter(([key]) => !drop.includes(key))),
  ...set,
});

const parse = (config: Json) => (isEncoder(config.model_type) ? parseEncoderConfig(config) : parseModelConfig(config));

/** The outputs at the last position of a folder's model. */
async function outputs(folder: string, config: Json, ids: readonly number[]): Promise<number[]> {
  const pass = passesOf([ids], { longest: ids.length, maxTokens: ids.length })[0]!;
  const input = passInput(pass.tokens);
  const last = <T extends ArrayLike<number>>(all: T, width: number) => Array.from(all).slice(-width);
  if (isEncoder(config.model_type)) {
    const network = encoderNetwork(parseEncoderConfig(config));
    const hidden = network.hidden(await loadEncoderWeights(folder, network), {
      ...input,
      segments: input.segments.mul(0),
    });
    return last(await hidden.toArray(), network.config.hiddenSize);
  }
  const { weights, network } = await loadWeights(folder);
  const { head, padTokenId } = network.config;
  if (head?.task === 'sequence-classification') {
    const at = pass.last.mul(0).add(ids.findLastIndex((id) => id !== padTokenId));
    return sequenceLogits(network, weights, { ...input, last: at }).toArray();
  }
  if (head) return last(await tokenLogits(network, weights, input).toArray(), head.labels.length);
  const hidden = network.hidden(weights, input);
  const logits = network.logits(weights, hidden.reshape([ids.length, -1]));
  return last(await logits.toArray(), network.config.vocabSize);
}

const describePatch = ({ set, drop }: Patch): string =>
  `${JSON.stringify(set ?? {})}${drop ? ` without ${drop.join(', ')}` : ''}`;

/** A model folder of a table's weights whose config.json is altered as asked; gives outputs, or the refusal. */
async function run(folder: string, table: KeyTable, patch: Patch): Promise<number[] | PosttrainError> {
  const config = patched(table, patch);
  await writeFile(join(folder, 'config.json'), JSON.stringify(config));
  try {
    return await onEngine(referenceEngine(), () => outputs(folder, config, table.ids));
  } catch (error) {
    if (error instanceof PosttrainError) return error;
    throw new Error(`${describePatch(patch)}: ${error}`, { cause: error });
  }
}

/**
 * Runs patches of one family's config. Each must be refused by an error of ours, or compute what the reference computes;
 * what the reference refuses must be refused, or be as if it had not been altered. Gives the patches that are neither, and
 * how many were refused.
 */
export async function runPatches(name: string, patches: (table: KeyTable) => readonly Patch[]) {
  const table = readKeyTable(name);
  const folder = join(await temporaryFolder(), name);
  await mkdir(folder);
  await cp(weightsOf(name), join(folder, 'model.safetensors'));
  const [wrong, refused]: string[][] = [[], []];
  const base = computed(parse(table.config));
  for (const patch of [{ set: {} }, ...patches(table)]) {
    const want = patch.logits ?? table.logits;
    // A config that is read as the unaltered one computes what that does, which is the first patch.
    const isBase = Object.keys(patch.set ?? {}).length === 0 && !patch.drop;
    if (!isBase && parsesTo(patched(table, patch)) === base && want === table.logits) continue;
    const all = await run(folder, table, patch);
    // Of the families' tables, the first of the vocabulary are there.
    const got = all instanceof PosttrainError || !FAMILY_TABLES.includes(name) ? all : all.slice(0, want.length);
    if (got instanceof PosttrainError) refused!.push(`${describePatch(patch)}: ${got.message.replace(folder, '')}`);
    else if (
      got.length !== want.length ||
      got.some((x, i) => !(Math.abs(x - want[i]!) <= 2e-4 * Math.max(1, Math.abs(want[i]!))))
    ) {
      const worst = Math.max(...got.map((x, i) => Math.abs(x - want[i]!)));
      wrong!.push(`${describePatch(patch)}: differs by ${worst}`);
    }
  }
  return { wrong: wrong!, refused: refused! };
}

/**
 * Patches that are read as if nothing had been altered although the reference computes something else with them: no weights
 * are needed to find what is passed over in silence.
 */
export function passedOver(name: string): string[] {
  const table = readKeyTable(name);
  const base = computed(parse(table.config));
  return table.changed.filter((patch) => parsesTo(patched(table, patch)) === base).map(describePatch);
}

/** Patches whose config is another one when it has been written and read again. */
export function lostInWriting(name: string): string[] {
  const table = readKeyTable(name);
  return [...table.same, ...table.changed]
    .filter((patch) => {
      const read = parsesTo(patched(table, patch));
      if (read === undefined) return false;
      const written = modelConfigToJson(parseModelConfig(patched(table, patch)));
      return parsesTo(JSON.parse(JSON.stringify(written)) as Json) !== read;
    })
    .map(describePatch);
}

function parsesTo(config: Json): string | undefined {
  try {
    return computed(parse(config));
  } catch {
    return undefined;
  }
}
