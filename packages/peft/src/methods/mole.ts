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
 * The gates are those of single matrices, the finest of the paper's; its loss that balances experts needs what gates give in a pass,
 * which a penalty does not see, and is not there. PEFT has no such method; the files are this package's own, with the gates.
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

  hooks(context, { trained, frozen }) {
    const updates = expertUpdates(context, frozen);
    const { temperature } = context.config;
    return {
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
        return changes.reduce<Tensor>(
          (sum, change, i) => (change ? sum.add(change.mul(shares.slice(last, i, i + 1))) : sum),
          layer.apply(x),
        );
      },
    };
  },
};

const gateOf = (module: string): string => `${module}.mole_gate`;
