import { realize, tensor } from '@posttrain/core-tensor';
import { mapNamed, type Named } from '@posttrain/core-tensor/optim';
import { type Adapter, type CausalLM, NO_ADAPTER, withParameters } from '@posttrain/lm';
import type { AnnotatorContext } from '../annotator.js';
import { trDpo } from '../preference/tr-dpo.js';
import type { Stateful } from '../stateful.js';

/** A teacher that follows the student. */
export interface EmaTeacher extends Stateful {
  /** The teacher of a step, moved by what the student has learnt in the steps before. Asked once a step. */
  ofStep(context: AnnotatorContext): Promise<{ readonly model: CausalLM; readonly adapter: Adapter }>;
}

/**
 * The exponential moving average of the student as its teacher: after every k-th step θ_T ← (1 - α) θ_T + α θ, tensor by tensor of what is
 * trained; TRL's `SyncTeacherModelCallback`, which mixes as TR-DPO does. It begins as the student does, also behind an adapter, where TRL's
 * `PEFTAdapterEMACallback` begins with zeros in both of LoRA's factors. It is in the checkpoints of the run.
 */
export function emaTeacher({ rate, every }: { readonly rate: number; readonly every: number }): EmaTeacher {
  const rule = trDpo({ refModelMixupAlpha: rate, refModelSyncSteps: every });
  let mean: Named | undefined;
  return {
    async ofStep({ model, adapter, step }) {
      const trainsAll = adapter === NO_ADAPTER;
      const now = (trainsAll ? model.weights : adapter.parameters) as Named;
      if (!mean) mean = await copied(now);
      else if (step > 0 && rule.isDue(step)) {
        const before = mean;
        mean = mapNamed(before, (x, name) => rule.next(x, now[name]!, name));
        await realize(Object.values(mean), { engine: model.network.engine });
      }
      return trainsAll
        ? { model: model.withWeights(mean), adapter }
        : { model, adapter: withParameters(adapter, mean) };
    },
    state: () => mean,
    load(state) {
      mean = state as Named | undefined;
    },
  };
}

/** A copy, as the student's own tensors are donated to its next update. */
async function copied(named: Named): Promise<Named> {
  const copies = Object.entries(named).map(async ([name, x]) => {
    return [name, x.dtype === 'float32' ? tensor(Float32Array.from(await x.data()), x.shape) : x] as const;
  });
  return Object.fromEntries(await Promise.all(copies));
}
