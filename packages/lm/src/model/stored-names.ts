import { nearestName, PosttrainError } from '@posttrain/interfaces';
import type { ModelConfig } from '../config/index.js';
import type { ParameterInfo } from './family.js';
import { companionNames, groupedName, packedName } from './quantized-files.js';

/** Buffers that some checkpoints carry and no computation reads. */
const IGNORED_SUFFIXES = ['.rotary_emb.inv_freq', '.attn.bias', '.attn.masked_bias'];
/** Where the language model is in a checkpoint that has images too (Gemma 3), and what else there is. */
const LANGUAGE_MODEL = 'language_model.';
/** The same in the names that transformers 5 has in memory, which other programs write. */
const INNER_LANGUAGE_MODEL = 'model.language_model.';
/** Left out of a file where it is tied to the embedding. */
export const OUTPUT_LAYER = 'lm_head.weight';
/** What the files of a family call it. */
export const outputLayerIn = (config: ModelConfig): string =>
  'names' in config && config.names.storedHead !== undefined ? `${config.names.storedHead}.weight` : OUTPUT_LAYER;
const BESIDE_LANGUAGE_MODEL = ['vision_tower.', 'multi_modal_projector.'].flatMap((name) => [name, `model.${name}`]);

const MOST_SHOWN = 8;

/** A model folder whose tensors do not fit its config. Names the tensors. */
export class WeightMismatchError extends PosttrainError {
  constructor(path: string, problems: readonly string[]) {
    const shown = problems.slice(0, MOST_SHOWN).join('; ');
    const rest = problems.length > MOST_SHOWN ? `; and ${problems.length - MOST_SHOWN} more` : '';
    super('WEIGHT_MISMATCH', `${path}: the tensors do not fit the config: ${shown}${rest}.`);
  }
}

/** A parameter's name in the file: GPT-2 checkpoints of the base model lack the `transformer.` prefix. */
export function storedName(name: string, found: { has(name: string): boolean }): string | undefined {
  const bare = name.replace(/^(transformer|model)\./, '');
  const inner = name.replace(/^model\./, INNER_LANGUAGE_MODEL);
  const names = [name, bare, `${LANGUAGE_MODEL}${name}`, inner];
  return [...names, ...names.map(packedName), ...names.map(groupedName)].find((candidate) => found.has(candidate));
}

/**
 * Whether a tensor is of a layer behind the last one, which DeepSeek V3's files have to predict further tokens by (arXiv 2412.19437,
 * section 2.2), and Qwen3-Next's under a name of their own: transformers passes over them, too.
 */
function isBehind(name: string, config: ModelConfig): boolean {
  if (/^qwen3_(next|5)/.test(config.modelType)) return name.startsWith('mtp.');
  if (config.modelType !== 'deepseek_v3') return false;
  const layer = /^model\.layers\.(\d+)\./.exec(name)?.[1];
  return layer !== undefined && Number(layer) >= config.numHiddenLayers;
}

/** The name in the file of every parameter. */
export function resolveNames(
  folder: string,
  parameters: readonly ParameterInfo[],
  found: ReadonlyMap<string, { readonly shape: readonly number[] }>,
  config: ModelConfig,
  leftOut: readonly string[],
): Map<string, string> {
  const problems: string[] = [];
  const names = new Map<string, string>();
  const used = new Set<string>();
  for (const { name, shape } of parameters) {
    const stored =
      storedName(name, found) ?? (name === OUTPUT_LAYER ? storedName(outputLayerIn(config), found) : undefined);
    if (stored === undefined) {
      // Names are compared for what is shown only.
      const near = problems.length < MOST_SHOWN ? nearestName(name, found.keys()) : undefined;
      problems.push(`${name} is missing${near ? ` (there is ${near})` : ''}`);
      continue;
    }
    names.set(name, stored);
    const companions = companionNames(stored, found);
    for (const companion of companions) used.add(companion);
    used.add(stored);
    if (companions.length > 0) continue;
    const actual = found.get(stored)!.shape;
    if (actual.length !== shape.length || actual.some((dim, i) => dim !== shape[i])) {
      problems.push(`${stored} has shape [${actual.join(', ')}] where the config asks for [${shape.join(', ')}]`);
    }
  }
  const isPart = [...used].some((name) => [LANGUAGE_MODEL, INNER_LANGUAGE_MODEL].some((part) => name.startsWith(part)));
  const allowed = (name: string) =>
    used.has(name) ||
    isBehind(name, config) ||
    leftOut.some((prefix) => name.startsWith(prefix)) ||
    (isPart && BESIDE_LANGUAGE_MODEL.some((prefix) => name.startsWith(prefix))) ||
    IGNORED_SUFFIXES.some((suffix) => `.${name}`.endsWith(suffix)) ||
    (config.tieWordEmbeddings && [OUTPUT_LAYER, LANGUAGE_MODEL + OUTPUT_LAYER, outputLayerIn(config)].includes(name));
  for (const name of found.keys())
    if (!allowed(name)) problems.push(`${name} has no place in a ${config.modelType} model`);
  if (problems.length > 0) throw new WeightMismatchError(folder, problems);
  if (leftOut.length > 0) {
    const parts = [...found.keys()].filter((name) => leftOut.some((prefix) => name.startsWith(prefix)));
    process.emitWarning(
      `${folder}: the text part is loaded, as a ${config.modelType} model; ${parts.length} tensors of other parts (${parts[0]}, …) are left out.`,
      'PosttrainWarning',
    );
  }
  return names;
}
