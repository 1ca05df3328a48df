import { dropout, iota, type Key, randomBits, type Tensor, tensor, where } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { boolean, custom, integer, number, PosttrainError, type Read } from '@posttrain/interfaces';
import { applyLinear, type PassInfo } from '@posttrain/lm';
import { AdapterConfigError } from '../adapters/errors.js';
import { linearStart, uniformWithin } from '../adapters/initial.js';
import { methodOptions, orNull, targetOptions } from '../adapters/method-options.js';
import { NO_PLAN } from '../adapters/peft-adapter.js';
import type { PeftMethod } from '../adapters/peft-method.js';
import { matchSaved } from '../adapters/targets.js';

const POSITIONS = /^(?:f([1-9]\d*))?(?:(?:^|\+)l([1-9]\d*))?$/;

const isLayers = (value: unknown): boolean =>
  Array.isArray(value) && value.length > 0 && value.every((layer) => Number.isSafeInteger(layer) && layer >= 0);

const loReftOptions = methodOptions('LOREFT', {
  /** Indices of the transformer blocks whose outputs are changed. Default: null, all. */
  layers: orNull(custom<readonly number[]>()('a list of indices of layers', isLayers, { default: [0] })),
  /** Rank r of a change, below the width of the model. Default 8. */
  lowRankDimension: integer({ default: 8, min: 1 }),
  /** Positions of the prompt, the first and the last ones: `f1+l1`, `f5`, `l3`. Default `f1+l1`. */
  positions: custom<string>()(
    'first and last positions, such as "f1+l1", "f5" or "l3"',
    (value) => typeof value === 'string' && value !== '' && POSITIONS.test(value),
    { default: 'f1+l1' },
  ),
  /** One change for the first and the last positions of a layer, in the place of one for each. Default false. */
  shareWeights: boolean({ default: false }),
  /** Probability with which an element of a changed hidden state is dropped in training. Default 0. */
  dropout: number({ default: 0, min: 0, below: 1 }),
  /** Modules trained whole, as copies: paths or dotted endings. Default: none. */
  modulesToSave: targetOptions.modulesToSave,
});
/** Options of `loReft`, complete, by pyreft's names in camel case. */
export type LoReftConfig = Read<typeof loReftOptions>;

const PROMPT = 'promptTokens';

/**
 * LoReFT (arXiv 2404.03592): the hidden state h that a block gives at some positions of the prompt becomes
 * h + Rᵀ(W h + b − R h), with R [r, width] of orthonormal rows: h in a subspace of r dimensions is replaced by what W and b say.
 * Of a prompt of p tokens, the first min(f, ⌊p/2⌋) and the last min(l, ⌊p/2⌋) positions are changed.
 *
 * `rotate_layer` [width, r] is what R is made of, as torch.nn.utils.parametrizations.orthogonal does by Householder reflections:
 * column i has below its diagonal the vector v_i with 1 at place i, and Rᵀ = H_1 … H_r restricted to r columns,
 * H_i = I − 2 v_i v_iᵀ / ‖v_i‖². What is on the diagonal and above it is zero and stays so. PEFT has no such method, and pyreft's files are
 * pickled; the files are this package's own.
 *
 * Every sequence says how long its prompt is, in training as in generation: `adapterInputs: { promptTokens: 12 }`.
 */
export const loReft: PeftMethod<LoReftConfig> = {
  peftType: 'LOREFT',
  options: loReftOptions,
  fileDefaults: {},

  plan({ network, config: { numHiddenLayers, hiddenSize } }, given, strictness) {
    const layers = given.layers ?? Array.from({ length: numHiddenLayers }, (_, layer) => layer);
    const wrong = layers.find((layer) => layer >= numHiddenLayers);
    if (wrong !== undefined) throw new AdapterConfigError(`layers: ${wrong}, and the model has ${numHiddenLayers}`);
    if (given.lowRankDimension >= hiddenSize) {
      throw new AdapterConfigError(`lowRankDimension ${given.lowRankDimension} is not below the width ${hiddenSize}`);
    }
    const saved = matchSaved(network.modules.values(), given, strictness);
    return { config: { ...given, layers: [...new Set(layers)] }, plan: { ...NO_PLAN, saved }, skipped: [] };
  },

  parameters: ({ config, model }) => placesOf(config).length * config.lowRankDimension * (2 * model.hiddenSize + 1),

  stochastic: (config) => (config.dropout > 0 ? `dropout is ${config.dropout}` : undefined),

  init({ config, model }, _, key) {
    const { lowRankDimension: rank } = config;
    const { hiddenSize: width } = model;
    const trained: Record<string, Tensor> = {};
    placesOf(config).forEach((place, i) => {
      const own = key.child(i);
      trained[`${place}.rotate_layer`] = rotationStart(own.child(0), width, rank);
      trained[`${place}.learned_source.weight`] = linearStart(own.child(1), [rank, width]);
      trained[`${place}.learned_source.bias`] = uniformWithin(own.child(2), [rank], width ** -0.5);
    });
    return { trained, frozen: {} };
  },

  rowInputs: () => ({
    names: [PROMPT],
    of(_, { [PROMPT]: length }) {
      if (length !== undefined && length > 0) return { [PROMPT]: length };
      const problem = length === undefined ? 'is missing' : `is ${length}`;
      throw new PosttrainError('ADAPTER_INPUTS', `${PROMPT} ${problem}: LoReFT needs the length of every prompt`);
    },
  }),

  hooks({ config, model }, { trained }, dropoutKey) {
    const parts = partsOf(config);
    const bits = dropoutKey && randomBits(dropoutKey, [model.numHiddenLayers * parts.length, 2]);
    return {
      sublayer(output, { layer, part, input, pass }) {
        if (part !== 'mlp' || !config.layers!.includes(layer)) return output;
        const hidden = input.add(output);
        return parts.reduce((changed, own, i) => {
          const place = placeOf(layer, own.name);
          const put = intervene(hidden, trained, place);
          const at = layer * parts.length + i;
          const kept = bits ? dropout(put, config.dropout, bits.slice(0, at, at + 1).reshape([2])) : put;
          return where(isAt(own, pass).expandDims(2), kept.sub(input), changed);
        }, output);
      },
    };
  },
};

/** Positions that one change is for. */
interface Part {
  readonly name: string;
  readonly first: number;
  readonly last: number;
}

function partsOf({ positions, shareWeights }: LoReftConfig): readonly Part[] {
  const [first, last] = POSITIONS.exec(positions)!
    .slice(1)
    .map((count) => Number(count ?? 0)) as [number, number];
  if (shareWeights || first === 0 || last === 0) return [{ name: '', first, last }];
  return [
    { name: 'first', first, last: 0 },
    { name: 'last', first: 0, last },
  ];
}

const placeOf = (layer: number, part: string): string => `layers.${layer}${part && `.${part}`}`;

const placesOf = (config: LoReftConfig): string[] =>
  config.layers!.flatMap((layer) => partsOf(config).map(({ name }) => placeOf(layer, name)));

/** h + Rᵀ(W h + b − R h) of hidden states [..., width]. */
function intervene(hidden: Tensor, trained: Named, place: string): Tensor {
  const of = (name: string) => trained[`${place}.${name}`]!;
  const rotation = rotationOf(of('rotate_layer'));
  const source = applyLinear(hidden, of('learned_source.weight'), of('learned_source.bias'), false);
  const change = source.sub(applyLinear(hidden, rotation, undefined, true));
  return hidden.add(applyLinear(change, rotation, undefined, false));
}

/** Rᵀ [width, r] of the Householder vectors below the diagonal of x. */
function rotationOf(x: Tensor): Tensor {
  const [width, rank] = x.shape as [number, number];
  const [rows, columns] = [iota([width, rank], 0), iota([width, rank], 1)];
  const one = rows.equal(columns).cast(x.dtype);
  const vectors = where(rows.greater(columns), x, one);
  let product = one;
  for (let i = rank - 1; i >= 0; i--) {
    const v = vectors.slice(1, i, i + 1);
    const scale = v.square().sum().reciprocal().mul(2);
    product = product.sub(v.mul(scale).matmul(v.matmul(product, { transposeA: true })));
  }
  return product;
}

/** So that R is uniform among all of its shape: the reflections of normal vectors, each shorter by one place. */
function rotationStart(key: Key, width: number, rank: number): Tensor {
  const drawn = key.normalHost(width * rank);
  const out = new Float32Array(width * rank);
  for (let column = 0; column < rank; column++) {
    const at = (row: number) => row * rank + column;
    let norm = 0;
    for (let row = column; row < width; row++) norm += drawn[at(row)]! ** 2;
    const first = drawn[at(column)]!;
    const pivot = first + (first < 0 ? -1 : 1) * Math.sqrt(norm);
    for (let row = column + 1; row < width; row++) out[at(row)] = drawn[at(row)]! / pivot;
  }
  return tensor(out, [width, rank]);
}

/** bool [b, s]: which tokens of a pass are at the positions of a part. */
function isAt({ first, last }: Part, pass: PassInfo | undefined): Tensor {
  const length = pass?.inputs[PROMPT];
  if (!pass || !length) {
    throw new PosttrainError(
      'ADAPTER_INPUTS',
      `LoReFT reads ${PROMPT} of every sequence, which this pass does not say`,
    );
  }
  const { positions } = pass;
  // A position i is below ⌊p/2⌋ where 2i + 1 is below p.
  const isFirst = positions.less(first).and(positions.mul(2).add(1).less(length));
  const fromEnd = length.sub(positions);
  const isLast = fromEnd.greater(0).and(fromEnd.lessEqual(last)).and(fromEnd.mul(2).lessEqual(length));
  return isFirst.or(isLast);
}
