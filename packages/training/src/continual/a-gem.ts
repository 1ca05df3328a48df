import { compile, currentEngine, Key, perEngine, type Tensor, where } from '@posttrain/core-tensor';
import { mapNamed, type Named } from '@posttrain/core-tensor/optim';
import { custom, type Given, integer, options } from '@posttrain/interfaces';
import type { TrainingRow } from '../loss/rows.js';
import { contentHash } from '../run/identity.js';
import type { UpdateRule } from '../update/update-rule.js';
import { drawWithout } from './replay-buffer.js';
import { normalised } from './row-means.js';

/** What `aGem` gives. */
export interface AGemResult {
  /** To be applied: `optimStep({ learningRate, gradients })`. */
  readonly gradients: Named;
  /** g · g_ref, before the projection; below 0 the step would have hurt what is remembered. */
  readonly interference: number;
}

const dot = (a: Named, b: Named): Tensor =>
  Object.entries(a)
    .map(([name, x]) => x.mul(b[name]!).sum())
    .reduce((x, y) => x.add(y));

const projection = perEngine(() =>
  compile(
    (gradients: Named, memory: Named) => {
      const interference = dot(gradients, memory);
      const factor = where(interference.less(0), interference.div(dot(memory, memory)), 0);
      return { gradients: mapNamed(gradients, (g, name) => g.sub(memory[name]!.mul(factor))), interference };
    },
    { name: 'aGem' },
  ),
);

/**
 * Averaged gradient episodic memory (arXiv 1812.00420, eq. 11): where the gradient g of new rows and the gradient g_ref of
 * remembered rows point against each other, g becomes g - (g · g_ref / g_ref · g_ref) g_ref, which does not raise the loss of what is
 * remembered to first order; else it stays. Both are what `trainer.takeGradients()` gives.
 */
export async function aGem(gradients: Named, memory: Named): Promise<AGemResult> {
  const { interference, ...result } = await projection(currentEngine())(gradients, memory);
  return { ...result, interference: await interference.item() };
}

const ruleOptions = options('aGemRule', {
  /** Remembered rows of all earlier tasks. They have what the loss of the run reads. */
  memory: custom<readonly TrainingRow[]>()(
    'a list of at least one row',
    (value) => Array.isArray(value) && value.length > 0,
    { settings: (value) => contentHash(value) },
  ),
  /** Rows drawn from the memory for every update. Default 8. */
  batchSize: integer({ default: 8, min: 1 }),
  /** Of what is drawn. Default 0. */
  seed: integer({ default: 0, min: 0 }),
});
/** Options of `aGemRule`. */
export type AGemRuleOptions = Given<typeof ruleOptions>;

/**
 * A-GEM as the rule of an update: g_ref is the gradient of rows that are drawn from one memory anew for every update, without
 * replacement, all of their predictions weighing the same. It costs one gradient, where `gem` costs one of every task. Metrics:
 * `a_gem/interference`, g · g_ref before the projection, and `a_gem/projected`, 1 where there was one.
 *
 * @throws OptionError; what `Trainer.gradients` throws
 */
export function aGemRule(given: AGemRuleOptions): UpdateRule {
  const { memory, batchSize, seed } = ruleOptions.read(given);
  return {
    name: 'a-gem',
    settings: ruleOptions.settings(given),
    async update(trainer, rows, loss, { learningRate, ...inputs }) {
      const drawn = drawWithout(Key.fromSeed(seed).child(trainer.step), memory.length, batchSize).map(
        (i) => memory[i]!,
      );
      const { gradients: g, ...result } = await trainer.gradients(rows, loss, inputs);
      const { gradients: reference } = await trainer.gradients(normalised(drawn), loss, inputs);
      const { gradients, interference } = await aGem(g, reference);
      const { gradNorm } = await trainer.optimStep({ learningRate, gradients });
      const own = { 'a_gem/interference': interference, 'a_gem/projected': interference < 0 ? 1 : 0 };
      return { ...result, metrics: { ...result.metrics, ...own }, gradNorm };
    },
  };
}
