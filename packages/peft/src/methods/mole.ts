import { concat, softmax, type Tensor, zeros } from '@posttrain/core-tensor';
import { number, type Read } from '@posttrain/interfaces';
import { applyLinear } from '@posttrain/lm';
import { AdapterConfigError } from '../adapters/errors.js';
import { methodOptions } from '../adapters/method-options.js';
import type { MethodContext, PeftMethod } from '../adapters/peft-method.js';
import { expertOptions, expertsOf, expertsPlan, expertUpdates, frozenExperts } from './lora-experts.js';

const moleOptions = methodOptions('MOLE', {
  ...expertOptions,
  /** Divides the logits of a gate. Default 1. */
  temperature: number({ default: 1, above: 0 }),
  /** Weight of the loss that balances experts, α. Default 0. */
  balance: number({ default: 0, min: 0 }),
});
/** Options of `mole`, complete. */
export type MoleConfig = Read<typeof moleOptions>;

/** Keeps what nothing adds to from being divided by zero. */
const EPSILON = 1e-6;

/**
 * MoLE, a mixture of LoRA experts (arXiv 2404.13628): frozen LoRA adapters i, whose changes E_i(x) = s_i B_i A_i x are mixed in every module token by
 * token, y = W x + b + Σ_i g_i E_i(x), by a gate that has seen what each of them would add: g = softmax(e · norm(E_1 ⊕ … ⊕ E_n) / τ) with e [n, n · out],
 * which is all that is trained, and norm a division by the root of the mean square. It starts at zero: all experts count the same.
 *
 * The gates are those of single matrices, the finest of the paper's. Training adds α · −log Π_i q_i to the loss of every row (eq. 9), with q_i what gate i gives on the
 * mean over modules and tokens of the row: least where all experts count the same. PEFT has no such method; the files are
 * this package's own, with the gates.
 */
export const mole: PeftMethod<MoleConfig> = {
  peftType: 'MOLE',
  options: moleOptions,
  fileDefaults: {},

  plan: (model, given) => expertsPlan(model, given),

  parameters: ({ plan }) => {
    const count = expertsOf(plan).length;
    return plan.targets.reduce((sum, { outFeatures }) => sum + count * count * outFeatures, 0);
  },

  init({ plan }: MethodContext<MoleConfig>) {
    const count = expertsOf(plan).length;
    const gates = plan.targets.map(({ name, outFeatures }) => [gateOf(name), zeros([count, count * outFeatures])]);
    return { trained: Object.fromEntries(gates), frozen: frozenExperts(plan) };
  },

  hooks(context, { trained, frozen }, dropoutKey) {
    const updates = expertUpdates(context, frozen);
    const { temperature, balance } = context.config;
    const seen: Tensor[] = [];
    const isBalanced = dropoutKey !== undefined && balance > 0;
    return {
      ...(isBalanced && { rowLoss: ({ segments }) => balanceLoss(seen, segments).mul(balance) }),
      linear(x, layer) {
        const gate = trained[gateOf(layer.name)];
        if (!gate) return layer.apply(x);
        if (layer.rows) {
          throw new AdapterConfigError(`${layer.name} is an expert's of the model, which MoLE does not enter`);
        }
        const changes = updates.map((update) => {
          const { a, b, scale } = update[layer.name] ?? {};
          if (!a || !b || scale === undefined) return undefined;
          return applyLinear(applyLinear(x, a, undefined, false).mul(scale), b, undefined, false);
        });
        const nothing = changes.find((change): change is Tensor => change !== undefined)!.mul(0);
        const last = x.shape.length - 1;
        const all = concat(
          changes.map((change) => change ?? nothing),
          last,
        );
        const size = all.square().mean(last, { keepDims: true }).add(EPSILON).sqrt();
        const shares = softmax(applyLinear(all.div(size), gate, undefined, false).div(temperature));
        if (isBalanced) seen.push(shares);
        return changes.reduce<Tensor>(
          (sum, change, i) => (change ? sum.add(change.mul(shares.slice(last, i, i + 1))) : sum),
          layer.apply(x),
        );
      },
    };
  },
};

/** −log Π_i q_i [b] of what the gates of all modules gave, [b, s, n] each. */
function balanceLoss(shares: readonly Tensor[], segments: Tensor): Tensor {
  const isToken = segments.minimum(1).cast('float32');
  const total = shares.map((x) => x.cast('float32')).reduce((sum, x) => sum.add(x));
  const tokens = isToken.sum(1, { keepDims: true }).maximum(1);
  const mean = total.mul(isToken.expandDims(2)).sum(1).div(tokens).div(shares.length);
  return mean.log().sum(1).neg();
}

const gateOf = (module: string): string => `${module}.mole_gate`;
