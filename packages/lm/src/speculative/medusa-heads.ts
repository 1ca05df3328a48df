import { join } from 'node:path';
import { silu, type Tensor, tensor, zerosBuffer } from '@posttrain/core-tensor';
import { openSafetensors, stageSafetensors } from '@posttrain/core-tensor/io';
import { type Given, integer, options, PosttrainError } from '@posttrain/interfaces';
import { writeAtomically } from '@posttrain/interfaces/node';
import { InvalidModelFileError, readJsonObject } from '../files.js';
import type { CausalLM } from '../model/causal-lm.js';
import type { Weights } from '../model/layers.js';
import type { RunnableModel } from '../model/network.js';

const CONFIG_FILE = 'config.json';
const WEIGHTS_FILE = 'medusa_lm_head.safetensors';

const medusaShapeOptions = options('MedusaHeads', {
  /** Heads: tokens that are guessed beyond the next one. Default 4, as in the reference. */
  medusaNumHeads: integer({ default: 4, min: 1 }),
  /** Residual blocks of each. Default 1. */
  medusaNumLayers: integer({ default: 1, min: 0 }),
});

/** Options of new Medusa heads, by the names of the reference's config in camel case. */
export type MedusaShape = Given<typeof medusaShapeOptions>;

/** Tensors by name: those of head i are `i.j.linear.weight`, `i.j.linear.bias` (block j) and `i.LAYERS.weight` (output layer). */
const namesOf = (head: number, layers: number) => ({
  blocks: Array.from({ length: layers }, (_, j) => ({
    weight: `${head}.${j}.linear.weight`,
    bias: `${head}.${j}.linear.bias`,
  })),
  output: `${head}.${layers}.weight`,
});

/**
 * Medusa heads (arXiv 2401.10774) on the final hidden state h_t of a causal language model: head i (from 0) predicts the token
 * that comes i + 2 places after token t,
 *
 *   x ← x + SiLU(W_j x + b_j) for each block j, from x = h_t;   logits = O x
 *
 * in a folder as the reference saves it: `config.json` and `medusa_lm_head.safetensors`.
 */
export class MedusaHeads {
  readonly numHeads: number;
  readonly numLayers: number;
  /** The model's name in the folder's config. */
  readonly baseModel: string;
  readonly weights: Weights;

  private constructor(
    shape: { readonly numHeads: number; readonly numLayers: number; readonly baseModel: string },
    weights: Weights,
  ) {
    this.numHeads = shape.numHeads;
    this.numLayers = shape.numLayers;
    this.baseModel = shape.baseModel;
    this.weights = weights;
  }

  /**
   * Heads to begin training with: blocks that change nothing, and the model's own output layer, so that each predicts what the
   * model says of the next token.
   *
   * @throws OptionError
   */
  static initialize({ network, weights, name }: RunnableModel & { readonly name: string }, given: MedusaShape = {}) {
    const { medusaNumHeads: numHeads, medusaNumLayers: numLayers } = medusaShapeOptions.read(given);
    const { hiddenSize } = network.config;
    const output = network.head(weights);
    const own: Record<string, Tensor> = {};
    for (let head = 0; head < numHeads; head++) {
      const names = namesOf(head, numLayers);
      for (const block of names.blocks) {
        own[block.weight] = zerosBuffer([hiddenSize, hiddenSize]);
        own[block.bias] = zerosBuffer([hiddenSize]);
      }
      own[names.output] = output;
    }
    return new MedusaHeads({ numHeads, numLayers, baseModel: name }, own);
  }

  /** Reads a folder. @throws InvalidModelFileError, and what `openSafetensors` throws */
  static async load(folder: string): Promise<MedusaHeads> {
    const path = join(folder, CONFIG_FILE);
    const config = await readJsonObject(path);
    const numberOf = (key: string) => {
      const value = config[key];
      if (Number.isInteger(value) && (value as number) >= 0) return value as number;
      throw new InvalidModelFileError(path, `${key} must be a whole number. Medusa's folders have one.`);
    };
    const [numHeads, numLayers] = [numberOf('medusa_num_heads'), numberOf('medusa_num_layers')];
    const file = await openSafetensors(join(folder, WEIGHTS_FILE));
    try {
      const weights: Record<string, Tensor> = {};
      for (let head = 0; head < numHeads; head++) {
        const { blocks, output } = namesOf(head, numLayers);
        for (const name of [...blocks.flatMap(({ weight, bias }) => [weight, bias]), output]) {
          const { data, shape } = await file.read(name, { as: 'float32' });
          weights[name] = tensor(data, shape);
        }
      }
      return new MedusaHeads({ numHeads, numLayers, baseModel: String(config.base_model_name_or_path ?? '') }, weights);
    } finally {
      await file.close();
    }
  }

  /** The same heads with other numbers, as training makes them. */
  withWeights(weights: Weights): MedusaHeads {
    return new MedusaHeads(this, weights);
  }

  /** Writes a folder that the reference's readers load: both files or none. */
  async save(folder: string): Promise<void> {
    const tensors = await Promise.all(
      Object.entries(this.weights).map(async ([name, weight]) => ({
        ...{ name, shape: weight.shape, dtype: 'float32' as const },
        data: Float32Array.from(await weight.toArray()),
      })),
    );
    const config = {
      medusa_num_heads: this.numHeads,
      medusa_num_layers: this.numLayers,
      base_model_name_or_path: this.baseModel,
    };
    await writeAtomically(async (files) => {
      const text = `${JSON.stringify(config, null, 2)}\n`;
      await files.stage(join(folder, CONFIG_FILE), (write) => write(new TextEncoder().encode(text)));
      await stageSafetensors(files, join(folder, WEIGHTS_FILE), tensors);
    });
  }

  /** @throws PosttrainError for heads of another width or vocabulary than the model's, and for tensors that are missing */
  checkFits({ network: { config }, name }: CausalLM): void {
    const { vocabSize, hiddenSize } = config;
    const wrong = (problem: string) => {
      const advice = 'use the heads that were trained for this model';
      return new PosttrainError('MEDUSA_HEADS', `MedusaHeads: ${problem}; ${advice}`);
    };
    for (let head = 0; head < this.numHeads; head++) {
      const { blocks, output } = namesOf(head, this.numLayers);
      const own = `[${vocabSize}, ${hiddenSize}]`;
      const shape = this.weights[output]?.shape;
      if (String(shape) !== String([vocabSize, hiddenSize])) {
        const is = shape ? `[${shape.join(', ')}]` : 'missing';
        throw wrong(`their output layers are ${is}, and that of ${name} ${own}`);
      }
      for (const { weight, bias } of blocks) {
        for (const [tensorName, wanted] of [
          [weight, [hiddenSize, hiddenSize]],
          [bias, [hiddenSize]],
        ] as const) {
          const given = this.weights[tensorName]?.shape;
          if (String(given) === String(wanted)) continue;
          const is = given ? `has the shape [${given.join(', ')}]` : 'is missing';
          throw wrong(`${tensorName} ${is}, and ${name} needs [${wanted.join(', ')}]`);
        }
      }
    }
  }
}

/** What a head makes of hidden states [n, width] before its output layer, and that layer [vocabulary, width]. */
export function medusaHead(
  weights: Weights,
  hidden: Tensor,
  { head, numLayers }: { readonly head: number; readonly numLayers: number },
): { readonly hidden: Tensor; readonly output: Tensor } {
  const { blocks, output } = namesOf(head, numLayers);
  let x = hidden;
  for (const { weight, bias } of blocks) {
    x = x.add(silu(x.matmul(weights[weight]!, { transposeB: true }).add(weights[bias]!)));
  }
  return { hidden: x, output: weights[output]! };
}
