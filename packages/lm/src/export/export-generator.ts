import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { leavesOf, mapTree, type Tensor, zeros } from '@posttrain/core-tensor';
import { exportOnnxModels, type OnnxOperators, type OnnxSignature } from '@posttrain/core-tensor/export';
import { type Given, integer, oneOf, options, PosttrainError } from '@posttrain/interfaces';
import { writeAtomically } from '@posttrain/interfaces/node';
import { NO_ADAPTER } from '../model/adapter.js';
import { adapterOption } from '../model/adapter-option.js';
import type { CausalLM } from '../model/causal-lm.js';
import type { Weights } from '../model/layers.js';
import { extendStep, type StepOutput } from './extend-step.js';

const exportGeneratorOptions = options('exportGenerator', {
  /** Applied beside the weights, as `generate` does. Merge it first where the file should be smaller and faster. */
  adapter: adapterOption,
  /** Tokens of prompt and completion together. Default: the model's context, at most 1024. */
  capacity: integer({ optional: true, min: 2 }),
  /** Tokens of the prompt that one call takes; divides `capacity`. Default 64, or the capacity if that is less. */
  promptWidth: integer({ optional: true, min: 1 }),
  /** How matrices are stored; computed with in float32 always. Default `float32`. */
  dtype: oneOf(['float32', 'float16'], { default: 'float32' }),
  /**
   * See `exportOnnx`. Default `contrib`, which every build of ONNX Runtime has, also those for browsers; it starts and
   * runs faster. `standard` is for other runtimes.
   */
  operators: oneOf<OnnxOperators, { readonly default: 'contrib' }>(['contrib', 'standard'], { default: 'contrib' }),
});
/** Options of `exportGenerator`. */
export type ExportGeneratorOptions = Given<typeof exportGeneratorOptions>;

/** `generator.json`: what a page or another program needs to know to generate. */
export interface GeneratorManifest {
  readonly format: 'posttrain-generator';
  readonly version: 1;
  /** The two models and the file that holds the tensors of both. */
  readonly files: { readonly prefill: string; readonly decode: string; readonly weights: string };
  /** Width of `tokens` in the prefill model; in the decode model it is 1. */
  readonly promptWidth: number;
  readonly capacity: number;
  readonly vocabSize: number;
  /** The tokens that end a completion. */
  readonly endTokens: readonly number[];
  /** How conversations become text; base models have no template. The special tokens are variables of it. */
  readonly chat?: { readonly template: string; readonly specialTokens: Readonly<Record<string, string>> };
  /** The inputs that hold the cache, and the outputs that are fed to them in the next call. */
  readonly cache: {
    readonly shape: readonly number[];
    readonly names: readonly { readonly input: string; readonly output: string }[];
  };
}

const FILES = { prefill: 'prefill.onnx', decode: 'decode.onnx', weights: 'weights.data' } as const;
const MANIFEST = 'generator.json';

/**
 * Writes a folder from which the model generates wherever ONNX Runtime is, a browser too: the model as two ONNX files,
 * `prefill.onnx` (`promptWidth` tokens a call) and `decode.onnx` (one token a call), their common `weights.data`, the
 * tokenizer's files, and `generator.json`.
 *
 * Both models take `tokens` int32 [1, width], `lengths` int32 [1] (tokens in the cache already), `counts` int32 [1]
 * (tokens that are not padding) and the cache, and give `logits` float32 [1, vocabulary] after the last real token, and
 * the cache to go on with. It starts as zeros. A prompt is fed in pieces of `promptWidth`, the last padded on the right.
 * The files appear together or not at all (`writeAtomically`); other files of the folder stay.
 */
export async function exportGenerator(
  model: CausalLM,
  folder: string,
  given: ExportGeneratorOptions = {},
): Promise<GeneratorManifest> {
  const settings = exportGeneratorOptions.read(given);
  if (settings.adapter?.virtualTokens) {
    throw new PosttrainError(
      'EXPORT_ADAPTER',
      `exportGenerator: ${settings.adapter.name} has virtual tokens, and the exported cache begins empty; export a merged or another adapter`,
    );
  }
  if (model.network.stateShapes.length > 0) {
    throw new PosttrainError(
      'EXPORT_MODEL',
      `exportGenerator: ${model.config.modelType} has recurrent layers, whose states the exported cache has no place for`,
    );
  }
  const { adapter = NO_ADAPTER, dtype, operators } = settings;
  const { capacity, promptWidth } = sizesOf(model, settings);
  const { network, config } = model;
  // Codes of quantised weights stay what they are.
  const isFloatMatrix = (w: Tensor) => w.rank >= 2 && w.dtype === 'float32';
  const stored = mapTree(model.weights, (w) => (isFloatMatrix(w) ? w.cast(dtype) : w));
  const extend = extendStep(network, adapter);
  const cache = network.newCache(1, capacity);
  const one = zeros([1], 'int32');

  const step = (width: number) => {
    const f = (input: Pick<StepOutput, 'cache'> & Record<'tokens' | 'lengths' | 'counts', Tensor>): StepOutput => {
      const weights: Weights = mapTree(stored, (w) => (w.dtype === dtype ? w.cast('float32') : w));
      return extend(weights, adapter.parameters, input.cache, input.tokens, input.lengths, input.counts);
    };
    const args = [{ tokens: zeros([1, width], 'int32'), lengths: one, counts: one, cache }] as const;
    return { f, args, inputNames: [''] };
  };
  const parameters = leavesOf(adapter.parameters).map(({ path, tensor }) => [`adapter.${path}`, tensor] as const);

  const template = model.chatTemplate?.templates.default;
  let manifest: GeneratorManifest | undefined;
  await writeAtomically(async (files) => {
    const staging = await files.stageFolder(folder);
    const { [FILES.prefill]: signature } = await exportOnnxModels(
      staging,
      { [FILES.prefill]: step(promptWidth), [FILES.decode]: step(1) },
      { weightNames: { ...stored, ...Object.fromEntries(parameters) }, weightsFile: FILES.weights, operators },
    );
    manifest = {
      format: 'posttrain-generator',
      version: 1,
      files: FILES,
      ...{ promptWidth, capacity, vocabSize: config.vocabSize, endTokens: [...model.endTokens] },
      ...(template === undefined ? {} : { chat: { template, specialTokens: model.tokenizer.specialTokens } }),
      cache: { shape: cache.keys[0]!.shape, names: cacheNames(signature) },
    };
    await model.tokenizer.save(staging);
    await writeFile(join(staging, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`);
  });
  return manifest!;
}

function sizesOf({ config }: CausalLM, options: ExportGeneratorOptions): { capacity: number; promptWidth: number } {
  const limit = config.maxPositionEmbeddings;
  const { capacity = Math.min(limit, 1024) } = options;
  if (capacity > limit) {
    throw new PosttrainError(
      'EXPORT_SIZE',
      `exportGenerator: capacity must be a whole number from 2 to ${limit}, the model's context, not ${capacity}`,
    );
  }
  const { promptWidth = [64, 32, 16, 8, 4, 2, 1].find((width) => capacity % width === 0)! } = options;
  if (capacity % promptWidth !== 0) {
    throw new PosttrainError(
      'EXPORT_SIZE',
      `exportGenerator: promptWidth must divide the capacity, or the padding of a long prompt would not fit; ${promptWidth} does not divide ${capacity}`,
    );
  }
  return { capacity, promptWidth };
}

const cacheNames = ({ inputs }: OnnxSignature): GeneratorManifest['cache']['names'] =>
  inputs.filter(({ name }) => name.startsWith('cache.')).map(({ name }) => ({ input: name, output: `next.${name}` }));
