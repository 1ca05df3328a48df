import { type Tensor, uniform, zeros } from '@posttrain/core-tensor';
import { boolean, integer, oneOf, type Read } from '@posttrain/interfaces';
import { AdapterConfigError } from '../adapters/errors.js';
import { uniformWithin } from '../adapters/initial.js';
import { type LayerMethod, linearShape } from '../adapters/layer-method.js';
import { excludeOption, methodOptions, targetOptions } from '../adapters/method-options.js';
import { inputOf, TASK, taskInputs } from '../adapters/row-inputs.js';

const polyOptions = methodOptions('POLY', {
  ...targetOptions,
  ...excludeOption,
  /** Rank of each skill. Default 8. */
  r: integer({ default: 8, min: 1 }),
  /** The router. Default `poly`. */
  polyType: oneOf(['poly'], { default: 'poly' }),
  /** Tasks. Default 1. */
  nTasks: integer({ default: 1, min: 1 }),
  /** Skills of each module. Default 4. */
  nSkills: integer({ default: 4, min: 1 }),
  /** Parts that inputs and outputs are split into, each with a mixture of its own (MHR, arXiv 2211.03831). Default 1. */
  nSplits: integer({ default: 1, min: 1 }),
  /** B starts at zero, so that the model starts as it is. False: random, for tests. Default true. */
  initWeights: boolean({ default: true }),
});
/** Options of `poly`, complete, by PEFT's names in camel case. */
export type PolyConfig = Read<typeof polyOptions>;

const EPSILON = 1e-12;

/**
 * Poly (Polytropon, arXiv 2202.13914) and multi-head routing (arXiv 2211.03831): LoRA adapters ("skills") whose factors are mixed by
 * the task t of the sequence. y = W x + b + A_t B_t x / r; in each of q splits of the inputs and of the outputs the factor is
 * Σ_k w_tqk A_qk, w_tq = σ(z_tq) / Σ_k σ(z_tqk), with A [q, k, in / q, r], B [q, k, r, out / q] and z [tasks, q · k].
 * In training σ(z) is drawn from a relaxed Bernoulli distribution, once for each row of the batch.
 *
 * Every sequence says its task: `adapterInputs: { taskIds: 2 }` of rows, requests and scored sequences.
 */
export const poly: LayerMethod<PolyConfig> = {
  peftType: 'POLY',
  kinds: ['linear'],
  options: polyOptions,
  fileDefaults: {},
  fanInFanOut: false,

  check({ nSplits }, targets) {
    for (const target of targets) {
      const { inputs, outputs, transposed } = linearShape(target);
      if (transposed) throw new AdapterConfigError(`${target.name} is a Conv1D, which Poly does not enter, as in PEFT`);
      if (inputs % nSplits === 0 && outputs % nSplits === 0) continue;
      throw new AdapterConfigError(
        `${target.name}: ${inputs} inputs and ${outputs} outputs do not split in ${nSplits}`,
      );
    }
  },

  parameters(target, { r, nTasks, nSkills, nSplits }) {
    const { inputs, outputs } = linearShape(target);
    return nSkills * (r * (inputs + outputs) + nTasks * nSplits);
  },

  init(target, { r, nTasks, nSkills: k, nSplits: q, initWeights }, key) {
    const { inputs, outputs } = linearShape(target);
    const shapeB = [q, k, r, outputs / q];
    return {
      poly_lora_A: uniformWithin(key.child(0), [q, k, inputs / q, r], (inputs / q) ** -0.5),
      poly_lora_B: initWeights ? zeros(shapeB) : uniformWithin(key.child(1), shapeB, r ** -0.5),
      'poly_router.module_logits': uniformWithin(key.child(2), [nTasks, q * k], 1e-3),
    };
  },

  rowInputs: ({ nTasks }) => taskInputs('Poly', nTasks),

  stochastic: () => 'poly draws its mixture of skills',

  apply(x, layer, parameters, { r, nSkills: k, nSplits: q }, dropoutKey) {
    const { value: tasks } = inputOf(layer, TASK);
    const [b, s, inputs] = x.shape as [number, number, number];
    const [n, outputs] = [b * s, layer.outFeatures];
    const logits = parameters['poly_router.module_logits']!.gather(tasks).reshape([b, s, q, k]);
    const noise = dropoutKey && logistic(dropoutKey, [b, 1, q, k]);
    const open = (noise ? logits.add(noise) : logits).sigmoid();
    // [q, n, k, 1]
    const weights = open.div(open.sum(3).add(EPSILON).expandDims(3)).reshape([n, q, k, 1]).transpose([1, 0, 2, 3]);
    const a = parameters.poly_lora_A!.transpose([0, 2, 1, 3]).reshape([q, inputs / q, k * r]);
    const split = x.reshape([n, q, inputs / q]).transpose([1, 0, 2]);
    const narrow = split.matmul(a).reshape([q, n, k, r]).mul(weights).sum(2).sum(0);
    const skilled = narrow
      .reshape([1, n, 1, r])
      .mul(weights)
      .reshape([q, n, k * r]);
    const wide = skilled.matmul(parameters.poly_lora_B!.reshape([q, k * r, outputs / q]));
    const update = wide.transpose([1, 0, 2]).reshape([b, s, outputs]);
    return layer.apply(x).add(update.div(r));
  },
};

/** log u − log(1 − u) of a uniform u: with it, σ is a relaxed Bernoulli variable (arXiv 1611.00712) of temperature 1. */
function logistic(key: Tensor, shape: readonly number[]): Tensor {
  const u = uniform(key, shape)
    .maximum(1e-6)
    .minimum(1 - 1e-6);
  return u.log().sub(u.neg().add(1).log());
}
