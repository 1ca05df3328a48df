import { compile, perEngine, stack, type Tensor, tensor } from '@posttrain/core-tensor';
import { mapNamed, type Named } from '@posttrain/core-tensor/optim';
import { custom, type Given, number, options, PosttrainError } from '@posttrain/interfaces';
import type { TrainingRow } from '../loss/rows.js';
import { contentHash } from '../run/identity.js';
import type { UpdateRule } from './update-rule.js';

const isMemories = (value: unknown): boolean =>
  Array.isArray(value) && value.length > 0 && value.every((rows) => Array.isArray(rows) && rows.length > 0);

const gemOptions = options('gem', {
  /**
   * Remembered rows of every earlier task, a list each. The weights of a task are normalised over its own rows, and the
   * rows have what the loss of the run reads.
   */
  memories: custom<readonly (readonly TrainingRow[])[]>()('lists of rows, one for each earlier task', isMemories, {
    settings: (value) => contentHash(value),
  }),
  /** γ, a lower bound of the multipliers: above 0 the step also goes down on what is remembered. Default 0.5. */
  memoryStrength: number({ default: 0.5, min: 0 }),
  /** Added to the diagonal of the quadratic programme. Default 0.001, as in the authors' code. */
  eps: number({ default: 1e-3, min: 0 }),
});
/** Options of `gem`. */
export type GemOptions = Given<typeof gemOptions>;

const dot = (a: Named, b: Named): Tensor =>
  Object.entries(a)
    .map(([name, x]) => x.mul(b[name]!).sum())
    .reduce((x, y) => x.add(y));

const compiled = perEngine(() => ({
  /** All inner products of the gradients, [n, n]. */
  products: compile((all: readonly Named[]) => stack(all.map((a) => stack(all.map((b) => dot(a, b))))), {
    name: 'gem',
  }),
  /** g + Σ v_k g_k. */
  combined: compile(
    (gradients: Named, memories: readonly Named[], v: Tensor): Named =>
      mapNamed(gradients, (g, name) =>
        memories.reduce((sum, one, k) => sum.add(one[name]!.mul(v.slice(0, k, k + 1))), g),
      ),
    { name: 'gem' },
  ),
}));

const MOST_SWEEPS = 100_000;

/** min ½ vᵀ P v + qᵀ v where v ≥ least, by coordinate descent; P is small and has a positive diagonal. */
function boundedMinimum(p: readonly (readonly number[])[], q: readonly number[], least: number): number[] {
  const v = q.map(() => least);
  for (let sweep = 0; sweep < MOST_SWEEPS; sweep++) {
    let moved = 0;
    v.forEach((before, i) => {
      const slope = q[i]! + p[i]!.reduce((sum, x, j) => sum + x * v[j]!, 0);
      v[i] = Math.max(least, before - slope / p[i]![i]!);
      moved = Math.max(moved, Math.abs(v[i]! - before) / (1 + Math.abs(before)));
    });
    if (moved < 1e-12) return v;
  }
  throw new PosttrainError('GEM', 'gem: the quadratic programme has not converged; give a larger eps');
}

/**
 * Gradient episodic memory (GEM, arXiv 1706.08840, eq. 10 and 11) as the rule of an update: where the gradient g points
 * against that of any earlier task, the optimizer takes the nearest one that does not, g̃ = g + Σ v_k g_k with v = argmin
 * ½ vᵀ (G Gᵀ + εI) v + (G g)ᵀ v, v ≥ γ, the rows of G being the gradients g_k of remembered rows. It costs a gradient of
 * every task, which exist together. Metrics: `gem/violations`, the number of tasks that g points against.
 *
 * @throws OptionError; PosttrainError GEM where the programme does not converge; what `Trainer.gradients` throws
 */
export function gem(given: GemOptions): UpdateRule {
  const { memories, memoryStrength, eps } = gemOptions.read(given);
  return {
    name: 'gem',
    settings: gemOptions.settings(given),
    async update(trainer, rows, loss, { learningRate, ...inputs }) {
      const { gradients: g, ...result } = await trainer.gradients(rows, loss, inputs);
      const remembered: Named[] = [];
      for (const memory of memories) remembered.push((await trainer.gradients(memory, loss, inputs)).gradients);
      const { products, combined } = compiled(trainer.model.network.engine);
      const flat = await (await products([g, ...remembered])).toArray();
      const size = remembered.length + 1;
      const q = remembered.map((_, k) => flat[k + 1]!);
      const violations = q.filter((product) => product < 0).length;
      let gradients = g;
      if (violations > 0) {
        const p = q.map((_, i) => q.map((__, j) => flat[(i + 1) * size + j + 1]! + (i === j ? eps : 0)));
        gradients = await combined(g, remembered, tensor(boundedMinimum(p, q, memoryStrength)));
      }
      const { gradNorm } = await trainer.optimStep({ learningRate, gradients });
      return { ...result, metrics: { ...result.metrics, 'gem/violations': violations }, gradNorm };
    },
  };
}
