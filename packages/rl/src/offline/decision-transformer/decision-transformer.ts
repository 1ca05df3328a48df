import { join } from 'node:path';
import { currentEngine, type Engine, type Tensor, tensor } from '@posttrain/core-tensor';
import { openSafetensorsFolder, stageSafetensorsFolder } from '@posttrain/core-tensor/io';
import { writeAtomically } from '@posttrain/interfaces/node';
import { initialWeights, type JsonObject, type Weights } from '@posttrain/lm';
import {
  type AnyLoss,
  type Loss,
  negativeLogLikelihood,
  type TrainableModel,
  type TrainableNetwork,
  weightedSum,
} from '@posttrain/training';
import {
  type DecisionTransformerConfig,
  DecisionTransformerError,
  decisionTransformerConfigToJson,
  loadDecisionTransformerConfig,
  parseDecisionTransformerConfig,
} from './config.js';
import { actionVectors, decisionTransformerNetwork, parametersOf } from './network.js';

/**
 * The Decision Transformer (arXiv 2106.01345): a causal transformer over (R̂_1, s_1, a_1, R̂_2, …) with R̂_t = Σ_{i ≥
 * t} r_i, that predicts a_t from what stands before it. Trained on what any policy did, it acts as well as the return
 * that it is asked for. Folders, names and shapes are those of `DecisionTransformerModel` of transformers, without
 * its dropout. It has no tokenizer: see `trajectoryRow` for its rows. Immutable, as `CausalLM`.
 */
export class DecisionTransformer implements TrainableModel {
  readonly network: TrainableNetwork;
  /** Of rows of `trajectoryRow`: -log p(a_t), or for vectors the mean of (â_t - a_t)². */
  readonly loss: AnyLoss;

  private constructor(
    readonly config: DecisionTransformerConfig,
    readonly weights: Weights,
    readonly name: string,
    same: { readonly network: TrainableNetwork; readonly loss: AnyLoss },
  ) {
    this.network = same.network;
    this.loss = same.loss;
  }

  static #of(config: DecisionTransformerConfig, weights: Weights, name: string, engine: Engine): DecisionTransformer {
    const loss = config.discrete ? negativeLogLikelihood : squaredError(config);
    return new DecisionTransformer(config, weights, name, {
      network: decisionTransformerNetwork(config, engine),
      loss,
    });
  }

  /**
   * A new model.
   *
   * @param json by transformers' names; left out as there: `state_dim` 17, `act_dim` 4, `hidden_size` 128, `n_layer`
   * 3, `n_head` 1,
   * `n_positions` 1024 (of which a time step takes 3), `max_ep_len` 4096, `activation_function` relu, `action_tanh`
   * true, and ours
   *   `discrete_actions` false
   */
  static async initialize(json: JsonObject, seed = 0): Promise<DecisionTransformer> {
    const config = parseDecisionTransformerConfig(json, 'DecisionTransformer.initialize');
    const engine = currentEngine();
    const weights = await initialWeights({ parameters: parametersOf(config), config: config.gpt2, engine }, seed);
    return DecisionTransformer.#of(config, weights, 'decision-transformer', engine);
  }

  /**
   * Reads a folder that transformers or `save` wrote. @throws DecisionTransformerError; what reading its files throws
   */
  static async load(folder: string): Promise<DecisionTransformer> {
    const engine = currentEngine();
    const config = await loadDecisionTransformerConfig(folder);
    const wanted = parametersOf(config);
    const source = await openSafetensorsFolder(folder);
    try {
      const names = new Set(wanted.map(({ name }) => name));
      const left = [...source.tensors.keys()].filter((name) => !names.has(name));
      if (left.length > 0)
        throw new DecisionTransformerError(folder, `has ${left.join(', ')}, for which there is no place`);
      const weights: Record<string, Tensor> = {};
      for (const { name, shape } of wanted) {
        const found = source.tensors.get(name);
        const is = found ? `[${found.shape.join(', ')}]` : 'missing';
        if (is !== `[${shape.join(', ')}]`)
          throw new DecisionTransformerError(folder, `${name} is ${is}, not [${shape.join(', ')}]`);
        weights[name] = tensor((await source.read(name, { as: 'float32' })).data as Float32Array, shape);
      }
      return DecisionTransformer.#of(config, weights, folder, engine);
    } finally {
      await source.close();
    }
  }

  withWeights(weights: Weights): this {
    const { config, name, network, loss } = this;
    return new DecisionTransformer(config, weights, name, { network, loss }) as this;
  }

  /** Writes a folder that `load` and transformers read: all of it or nothing. */
  async save(folder: string): Promise<void> {
    const tensors = parametersOf(this.config).map(({ name, shape }) => {
      const data = async () => Float32Array.from(await this.weights[name]!.data());
      return { name, shape, dtype: 'float32' as const, data };
    });
    await writeAtomically(async (files) => {
      const json = `${JSON.stringify(decisionTransformerConfigToJson(this.config), null, 2)}\n`;
      await files.stage(join(folder, 'config.json'), (write) => write(new TextEncoder().encode(json)));
      await stageSafetensorsFolder(files, folder, tensors);
    });
  }
}

/** Σ w · mean_j (â_j - a_j)². */
function squaredError(config: DecisionTransformerConfig): Loss {
  const readout = actionVectors(config);
  return {
    name: 'action-error',
    annotations: [{ name: 'actions', per: 'prediction', width: config.actionSize }],
    computeFrom: (read, { weights, annotations }) => ({
      loss: weightedSum(read(readout).sub(annotations.actions!).square().mean(2), weights),
      metrics: {},
    }),
  };
}
