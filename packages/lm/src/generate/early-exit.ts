import { compile, iota, scalar, softmax, type Tensor, where, withEngine } from '@posttrain/core-tensor';
import { type Given, integer, number, oneOf, options, PosttrainError } from '@posttrain/interfaces';
import { type Adapter, rowInputsOf } from '../model/adapter.js';
import type { LayerHooks, NormLayer, NormTensors, Weights } from '../model/layers.js';
import type { Network, RunnableModel } from '../model/network.js';
import { HEAD_BIAS } from '../model/output-layer.js';
import { checkSequences, passesOf, passInput } from '../score/passes.js';

const earlyExitOptions = options('earlyExit', {
  /** λ: a token is done with the first layer that is surer than this; at 1 none is. Default 0.9. */
  threshold: number({ default: 0.9, min: 0, max: 1 }),
  /**
   * What being sure is. `softmax`: how far the likeliest token is before the second, of what the output layer says of the layer's
   * normalised state; `state`: the cosine of the states after this layer and the one before. Default `softmax`.
   */
  confidence: oneOf(['softmax', 'state'], { default: 'softmax' }),
  /** Layers that every token is computed by. Default 1. */
  minLayers: integer({ default: 1, min: 1 }),
});
/** Options of `earlyExit`. */
export type EarlyExitOptions = Given<typeof earlyExitOptions>;

const PROMPT = 'promptTokens';

interface EarlyExitParameters {
  readonly threshold: Tensor;
  readonly norm: NormTensors;
  /** Of the output layer. */
  readonly weights: Weights;
}

/** What `earlyExit` gives. */
export interface EarlyExit extends Adapter<EarlyExitParameters> {
  /** Tells what tokens are done with as soon as it is known: bool [b, s] of each layer after which some may be, from the first. */
  watched(parameters: EarlyExitParameters, tell: (done: Tensor) => void): LayerHooks;
}

/**
 * Early exit by confidence (CALM, arXiv 2207.07061 §3.5), as an adapter of the model that it was made for: a generated token is done
 * after the first layer i with c_i > λ; its state h_i is the model's last one, and what later layers have keys and values of,
 *
 *   softmax: c_i = p_i(y₁) − p_i(y₂),  p_i = softmax of the output layer on norm(h_i);     state: c_i = cos(h_i, h_(i−1))
 *
 * With λ = 1 it is the model, bit for bit. Tokens of the prompt are computed by all layers. The layers behind an exit are computed and
 * thrown away, for all rows of a batch share a graph: nothing is faster for it. `exitLayers` counts what had to be computed. Not for
 * training, and of the paper there are no threshold that falls with time and no classifier for c; `learnThenTest` of tts calibrates λ.
 *
 * @throws OptionError; PosttrainError EARLY_EXIT where `minLayers` is more than the model has
 */
export function earlyExit({ network, weights }: RunnableModel, given: EarlyExitOptions = {}): EarlyExit {
  const { threshold, confidence, minLayers } = earlyExitOptions.read(given);
  const { numHiddenLayers: layers, hiddenSize: width } = network.config;
  if (minLayers > layers) {
    throw new PosttrainError('EARLY_EXIT', `earlyExit: minLayers is ${minLayers}, and the model has ${layers} layers`);
  }
  const last = [...network.norms.keys()].at(-1)!;
  const output = network.modules.get('lm_head')!;
  const outputName = `${output.tiedTo ?? output.name}.`;
  const watched: EarlyExit['watched'] = (parameters, tell) => {
    let normalize: NormLayer['apply'] | undefined;
    let before: Tensor | undefined;
    let done: Tensor | undefined;
    return {
      norm(x, layer) {
        // All norms over the width of a model are of one kind: the last one is any of them with its own tensors.
        if (layer.width === width) normalize = layer.apply;
        return layer.apply(x);
      },
      sublayer(out, { layer, part, input, pass }) {
        if (part === 'attention') {
          const isGenerated = () => pass!.positions.greaterEqual(pass!.inputs[PROMPT]!);
          if (layer >= minLayers) {
            const sure = (
              confidence === 'softmax'
                ? margin(network, parameters.weights, normalize!(input, parameters.norm))
                : cosine(input, before!)
            ).greater(parameters.threshold);
            const now = sure.and(isGenerated());
            done = done ? done.or(now) : now;
            tell(done);
          }
          before = input;
        }
        return done ? where(done.expandDims(2), 0, out) : out;
      },
    };
  };
  return {
    name: 'early exit',
    parameters: {
      threshold: withEngine(network.engine, () => scalar(threshold)),
      norm: { weight: weights[`${last}.weight`]!, bias: weights[`${last}.bias`] },
      weights: Object.fromEntries(
        Object.entries(weights).filter(([name]) => name.startsWith(outputName) || name === HEAD_BIAS),
      ),
    },
    rowInputs: {
      names: [PROMPT],
      of: (tokens, { [PROMPT]: length = tokens.length }) => ({ [PROMPT]: length }),
      untouched: ({ [PROMPT]: length }) => length!,
    },
    hooks: (parameters) => watched(parameters, () => undefined),
    watched,
  };
}

/** p(y₁) − p(y₂) [b, s] of normalised states [b, s, width]. */
function margin(network: Network, weights: Weights, states: Tensor): Tensor {
  const [b, s, width] = states.shape as [number, number, number];
  const p = softmax(network.logits(weights, states.reshape([b * s, width])));
  const likeliest = p.argMax(1).reshape([b * s, 1]);
  const isOther = iota([1, p.shape[1]!], 1).notEqual(likeliest);
  return p
    .max(1)
    .sub(where(isOther, p, 0).max(1))
    .reshape([b, s]);
}

/** [b, s] of states [b, s, width]. */
function cosine(x: Tensor, y: Tensor): Tensor {
  const norm = (z: Tensor) => z.square().sum(2).sqrt();
  return x
    .mul(y)
    .sum(2)
    .div(norm(x).mul(norm(y)).maximum(1e-12));
}

/** A text that was generated with an early exit. */
export interface ExitedText {
  /** Of the prompt and what was generated. */
  readonly tokens: readonly number[];
  /** How many of them are the prompt. */
  readonly promptTokens: number;
}

/**
 * By how many layers each token of some texts is computed: int32, a number a token; of prompts all of them. A pass over all of a text has
 * the states that its generation had, up to rounding.
 *
 * @throws PosttrainError for texts that are empty, or longer than the context
 */
export async function exitLayers(
  model: RunnableModel,
  exit: EarlyExit,
  texts: readonly ExitedText[],
): Promise<Int32Array[]> {
  const { network, weights } = model;
  const { numHiddenLayers, maxPositionEmbeddings: longest, vocabSize } = network.config;
  const sequences = texts.map(({ tokens }) => tokens);
  checkSequences('exitLayers', sequences, { shortest: 1, longest, vocabSize });
  const count = withEngine(network.engine, () =>
    compile(
      (own: Weights, parameters: EarlyExitParameters, tokens: Tensor, promptTokens: Tensor) => {
        let layers: Tensor | undefined;
        const tell = (done: Tensor) => {
          const spared = done.cast('int32');
          layers = layers ? layers.sub(spared) : spared.neg().add(numHiddenLayers);
        };
        const input = { ...passInput(tokens), rowInputs: { [PROMPT]: promptTokens } };
        network.hidden(own, input, exit.watched(parameters, tell));
        return layers ?? tokens.mul(0).add(numHiddenLayers);
      },
      { name: 'exitLayers' },
    ),
  );
  const counts: Int32Array[] = [];
  for (const { sequences: rows, tokens, width } of passesOf(sequences, { longest, maxTokens: 4096 })) {
    const inputs = rowInputsOf(
      exit,
      rows.map((i) => sequences[i]!),
      [tokens.shape[0]!, width],
      rows.map((i) => ({ [PROMPT]: texts[i]!.promptTokens })),
    );
    const numbers = await (await count(weights, exit.parameters, tokens, inputs![PROMPT]!)).data();
    rows.forEach((i, row) => {
      counts[i] = Int32Array.from(numbers.subarray(row * width, row * width + sequences[i]!.length));
    });
  }
  await count.dispose();
  return counts;
}
