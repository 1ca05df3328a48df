import { type Tensor, zeros } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { boolean, custom, integer, type Read } from '@posttrain/interfaces';
import type { ModuleInfo } from '@posttrain/lm';
import { addedToWeight } from '../adapters/delta.js';
import { linearStart } from '../adapters/initial.js';
import { type LayerMethod, linearShape } from '../adapters/layer-method.js';
import { methodOptions } from '../adapters/method-options.js';
import { lycorisFileDefaults, lycorisOptions, lycorisRank } from './loha.js';

const lokrOptions = methodOptions('LOKR', {
  ...lycorisOptions,
  /** Decompose the first factor too, where r is small enough for it. Default false. */
  decomposeBoth: boolean({ default: false }),
  /** Size of the first factor; -1: as near to the square root as it goes. Default -1. */
  decomposeFactor: integer({ default: -1, min: -1 }),
  /**
   * True: the first factor starts at zero. `lycoris`: the second. False: none, so that training starts away from the base (for
   * tests). Default true.
   */
  initWeights: custom<boolean | 'lycoris'>()(
    'one of true, false, "lycoris"',
    (value) => [true, false, 'lycoris'].includes(value as boolean),
    { default: true },
  ),
});
/** Options of `lokr`, complete, by PEFT's names in camel case. */
export type LokrConfig = Read<typeof lokrOptions>;

/**
 * LoKr (LyCORIS, arXiv 2309.14859): y = (W + s·(C ⊗ D)) x + b, ⊗ Kronecker's product, with C [a, c] and D [d, e], a · d = out and c · e = in, each
 * whole or a product of rank r, and s = α/r.
 */
export const lokr: LayerMethod<LokrConfig> = {
  peftType: 'LOKR',
  kinds: ['linear'],
  conv1d: false,
  options: lokrOptions,
  fileDefaults: { ...lycorisFileDefaults, rank_dropout_scale: false },
  fanInFanOut: false,
  modulePatterns: ['rankPattern', 'alphaPattern'],

  parameters: (target, config) =>
    Object.values(factorsOf(target, config)).reduce((sum, [rows, columns]) => sum + rows * columns, 0),

  init(target, config, key) {
    const factors = factorsOf(target, config);
    const { initWeights } = config;
    const zero = initWeights === 'lycoris' ? ['lokr_w2', 'lokr_w2_b'] : initWeights ? ['lokr_w1', 'lokr_w1_a'] : [];
    return Object.fromEntries(
      Object.entries(factors).map(([name, shape], i) => [
        name,
        zero.includes(name) ? zeros([...shape]) : linearStart(key.child(i), shape),
      ]),
    );
  },

  apply(x, layer, parameters, config) {
    const [c, d] = [whole(parameters, 1), whole(parameters, 2)];
    const [[a, m], [b, n]] = [c.shape, d.shape] as [[number, number], [number, number]];
    const rows = x.size / (m * n);
    const { scaling } = lycorisRank(config, layer.name);
    const inner = x
      .reshape([rows * m, n])
      .matmul(d, { transposeB: true })
      .mul(scaling)
      .reshape([rows, m, b]);
    const outer = inner
      .transpose([0, 2, 1])
      .reshape([rows * b, m])
      .matmul(c, { transposeB: true });
    const update = outer.reshape([rows, b, a]).transpose([0, 2, 1]);
    return layer.apply(x).add(update.reshape([...x.shape.slice(0, -1), a * b]));
  },

  ...addedToWeight<LokrConfig>(({ name }, parameters, config) => {
    const [c, d] = [whole(parameters, 1), whole(parameters, 2)];
    const [[a, m], [b, n]] = [c.shape, d.shape] as [[number, number], [number, number]];
    const product = c.reshape([a, 1, m, 1]).mul(d.reshape([1, b, 1, n]));
    return product.reshape([a * b, m * n]).mul(lycorisRank(config, name).scaling);
  }),
};

const whole = (parameters: Named, i: 1 | 2): Tensor =>
  parameters[`lokr_w${i}`] ?? parameters[`lokr_w${i}_a`]!.matmul(parameters[`lokr_w${i}_b`]!);

/** The shapes of the factors, by PEFT's rule for which of them are products. */
function factorsOf(target: ModuleInfo, config: LokrConfig): Readonly<Record<string, readonly [number, number]>> {
  const { inputs, outputs } = linearShape(target);
  const { r } = lycorisRank(config, target.name);
  const [[a, b], [m, n]] = [outputs, inputs].map((size) => factorization(size, config.decomposeFactor)) as [
    [number, number],
    [number, number],
  ];
  const factor = (name: string, rows: number, columns: number, isProduct: boolean) =>
    isProduct
      ? { [`${name}_a`]: [rows, r] as const, [`${name}_b`]: [r, columns] as const }
      : { [name]: [rows, columns] as const };
  return {
    ...factor('lokr_w1', a, m, config.decomposeBoth && r < Math.max(a, m) / 2),
    ...factor('lokr_w2', b, n, r < Math.max(b, n) / 2),
  };
}

/** Two factors of a size, the smaller first: `factor` where it divides the size, else near it, or near the square root. */
function factorization(size: number, factor: number): readonly [number, number] {
  if (factor > 0 && size % factor === 0) return [factor, size / factor];
  const most = factor === -1 ? size : factor;
  let best = 1;
  for (let next = 2; next <= most && best < size / best; next++) {
    if (size % next !== 0) continue;
    if (next + size / next > best + size / best) break;
    best = next;
  }
  return [Math.min(best, size / best), Math.max(best, size / best)];
}
