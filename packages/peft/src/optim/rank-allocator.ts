import { concat, scalar, type Tensor, tensor, where, zeros } from '@posttrain/core-tensor';
import { mapNamed, type Named, type Optimizer } from '@posttrain/core-tensor/optim';

/** What `rankAllocator` goes by: see `AdaLoraConfig`. */
export interface RankAllocatorOptions {
  readonly initR: number;
  readonly targetR: number;
  readonly tinit: number;
  readonly tfinal: number;
  readonly deltaT: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly totalStep: number;
}

/** The state of AdaLoRA's allocation of ranks, beside the inner optimizer's. */
export interface RankAllocatorState {
  readonly inner: object;
  /** Smoothed sensitivities |θ ∂L/∂θ| of A, E and B, and how much they vary. */
  readonly sensitivity: Named;
  readonly uncertainty: Named;
  /** int32: updates made. */
  readonly step: Tensor;
}

/** Of a module, the tensors that one direction has a row or a column of. */
interface Triplet {
  readonly a: string;
  readonly e: string;
  readonly b: string;
}

/**
 * AdaLoRA's allocation of ranks (arXiv 2303.10512, section 3.2) behind another optimizer. After update t, counted from 0, and with
 * g the gradient of that update, of every element of A, E and B
 *
 *     I ← β₁ I + (1 − β₁) |θ g|,   U ← β₂ U + (1 − β₂) | |θ g| − I |
 *
 * until `totalStep − tfinal`; a direction's importance is I·U of its E plus the means of I·U over its row of A and its column of B. Every
 * `deltaT` updates after `tinit`, and from `totalStep − tfinal` on, E is set to zero in all but the b(t) most important directions of
 * all modules together, where b falls from all of them to `targetR` a module with the cube of the time that is left.
 */
export function rankAllocator(inner: Optimizer<object>, options: RankAllocatorOptions): Optimizer<object> {
  const { beta1, beta2, totalStep, tfinal } = options;
  const own: Optimizer<RankAllocatorState> = {
    name: `rankAllocator(${inner.name})`,
    settings: inner.settings,
    ...(inner.trains && { trains: inner.trains }),
    ...(inner.clips && { clips: inner.clips }),

    init(parameters) {
      const nothing = () => mapNamed(factorsOf(parameters), ({ shape }) => zeros([...shape]));
      return {
        inner: inner.init(parameters),
        sensitivity: nothing(),
        uncertainty: nothing(),
        step: scalar(0, 'int32'),
      };
    },

    update(parameters, gradients, state, learningRate) {
      const updated = inner.update(parameters, gradients, state.inner, learningRate);
      const { step } = state;
      const isOpen = step.less(totalStep - tfinal);
      const now = mapNamed(state.sensitivity, (_, name) => {
        const gradient = gradients[name];
        const value = updated.parameters[name]!;
        return gradient ? value.mul(gradient).abs() : value.mul(0);
      });
      const sensitivity = mapNamed(state.sensitivity, (old, name) =>
        where(isOpen, old.mul(beta1).add(now[name]!.mul(1 - beta1)), old),
      );
      const uncertainty = mapNamed(state.uncertainty, (old, name) => {
        const change = now[name]!.sub(sensitivity[name]!).abs();
        return where(isOpen, old.mul(beta2).add(change.mul(1 - beta2)), old);
      });
      const masked = masks(parameters, { sensitivity, uncertainty, step }, options);
      const next = mapNamed(updated.parameters, (value, name) =>
        masked[name] ? where(masked[name], value.mul(0), value) : value,
      );
      return { parameters: next, state: { inner: updated.state, sensitivity, uncertainty, step: step.add(1) } };
    },

    ...(inner.refresh && {
      refresh: (gradients, state, step) =>
        inner.refresh!(gradients, state.inner, step)?.then((refreshed) => ({ ...state, inner: refreshed })),
    }),
  };
  return own as Optimizer<object>;
}

/** Which directions' E is to be zero, bool [r, 1] by the names of the E. */
function masks(
  parameters: Named,
  { sensitivity, uncertainty, step }: Omit<RankAllocatorState, 'inner'>,
  options: RankAllocatorOptions,
): Named {
  const triplets = tripletsOf(parameters);
  const scoreOf = (name: string) => sensitivity[name]!.mul(uncertainty[name]!);
  const importance = triplets.map(({ a, e, b }) => {
    const own = scoreOf(e).reshape([parameters[e]!.size]);
    return own.add(scoreOf(a).mean(1)).add(scoreOf(b).mean(0));
  });
  const all = concat(importance, 0);
  const budgets = budgetsOf(all.size, triplets.length, options);
  const budget = tensor(Int32Array.from(budgets)).gather(step.minimum(budgets.length - 1).reshape([1]));
  // The most important of those that go. Where all stay, there is none.
  const threshold = all.topK(all.size).values.gather(budget.minimum(all.size - 1));
  const isAllocated = budget.less(all.size);
  return Object.fromEntries(
    triplets.map(({ e }, i) => [
      e,
      importance[i]!.lessEqual(threshold)
        .and(isAllocated)
        .reshape([...parameters[e]!.shape]),
    ]),
  );
}

/** How many directions stay after each update; all of them where nothing is masked. */
export function budgetsOf(
  all: number,
  modules: number,
  { targetR, tinit, tfinal, deltaT, totalStep }: RankAllocatorOptions,
): number[] {
  const target = targetR * modules;
  const end = totalStep - tfinal;
  return Array.from({ length: totalStep + 1 }, (_, step) => {
    if (step <= tinit) return all;
    if (step >= end) return target;
    const left = 1 - (step - tinit) / (end - tinit);
    return step % deltaT === 0 ? Math.trunc((all - target) * left ** 3 + target) : all;
  });
}

const factorsOf = (parameters: Named): Named =>
  Object.fromEntries(Object.entries(parameters).filter(([name]) => /\.lora_[AEB]$/.test(name)));

const tripletsOf = (parameters: Named): Triplet[] =>
  Object.keys(parameters).flatMap((e) => {
    const module = /^(.*)\.lora_E$/.exec(e)?.[1];
    return module === undefined ? [] : [{ a: `${module}.lora_A`, e, b: `${module}.lora_B` }];
  });
