import { mapTree, realize } from '@posttrain/core-tensor';
import { mapNamed, type Named, type Optimizer, sgd } from '@posttrain/core-tensor/optim';
import { OptionError } from '@posttrain/interfaces';
import { type Adapter, type CausalLM, NO_ADAPTER, withParameters } from '@posttrain/lm';
import { type ForwardPass, type TeacherModel, type TrainableAdapter, Trainer } from '@posttrain/training';
import type { ReferenceUpdate } from '../preference/reference-update.js';

/** What a policy is compared with, as it is now. */
export interface ReferencePolicy {
  readonly model: CausalLM;
  readonly adapter: Adapter;
  /** How often it has moved. What was computed with an earlier one holds no more. */
  readonly version: number;
}

/** A reference that moves with the policy. */
export interface MovingReference extends ReferencePolicy {
  /** What holds it, for the checkpoints of the run: a trainer that is never given a gradient. */
  readonly trainer: Trainer;
  /** Moves it where that is due after the updates that the policy has made. */
  follow(policy: Trainer): Promise<void>;
}

/** What a reference is made of. */
export interface ReferenceChoice {
  readonly model: CausalLM;
  readonly adapter?: TrainableAdapter | undefined;
  readonly reference?: Adapter | undefined;
  readonly referenceUpdate?: ReferenceUpdate | undefined;
}

/** One that stays: what was chosen, the adapter as it was made where its method starts from that, or the model without an adapter. */
export const fixedReference = ({ model, adapter, reference }: ReferenceChoice): ReferencePolicy => ({
  model,
  adapter: reference ?? adapter?.reference ?? NO_ADAPTER,
  version: 0,
});

/**
 * One that moves. It begins as the policy does, or with the numbers of an adapter that is otherwise the policy's.
 *
 * @throws OptionError for a reference of which the policy's tensors are no counterpart
 */
export async function movingReference(
  where: string,
  { model, adapter, reference }: ReferenceChoice,
  update: ReferenceUpdate,
): Promise<MovingReference> {
  const start = startOf(where, adapter, reference);
  const optimizer = idleOptimizer(start?.parameters ?? model.weights);
  const trainer = await Trainer.create(model, { optimizer, ...(start && { adapter: start }) });
  return {
    trainer,
    get model() {
      return trainer.model;
    },
    get adapter() {
      return trainer.adapter;
    },
    get version() {
      return trainer.step;
    },
    async follow(policy) {
      if (policy.step === 0 || !update.isDue(policy.step)) return;
      const now: Named = policy.parameters;
      const next = mapNamed(trainer.parameters, (tensor, name) => update.next(tensor, now[name]!, name));
      await realize(Object.values(next), { engine: trainer.model.network.engine });
      await trainer.assign(next, { countsStep: true });
    },
  };
}

/** An optimizer of which the smallest tensor alone has memory for a gradient, and no tensor ever gets one. */
function idleOptimizer(parameters: Named): Optimizer<object> {
  const sizes = Object.entries(parameters).map(([name, { size }]) => ({ name, size }));
  const smallest = sizes.reduce((a, b) => (b.size < a.size ? b : a));
  return { ...sgd(), trains: (name) => name === smallest.name };
}

function startOf(
  where: string,
  adapter: TrainableAdapter | undefined,
  reference: Adapter | undefined,
): TrainableAdapter | undefined {
  if (reference === undefined) return adapter;
  const identityOf = (one: Adapter | undefined) =>
    JSON.stringify((one as Partial<TrainableAdapter> | undefined)?.identity);
  if (adapter && identityOf(reference) === identityOf(adapter)) {
    return withParameters(adapter, reference.parameters as Named);
  }
  const other = adapter
    ? 'an adapter of another method or other options than the policy’s'
    : 'an adapter, and the policy has none';
  const problem = `reference is ${other}, so that it cannot move to where the policy is; leave it out, and it begins as the policy does.`;
  throw new OptionError('INVALID_OPTION', where, 'reference', problem);
}

/** How the policy is trained that the reference is run beside. */
export interface PolicyPass {
  /** Whether an adapter is trained: both then have the weights of the pass. */
  readonly sharesWeights: boolean;
  /** Whether a pass computes in float16. */
  readonly fp16: boolean;
}

/** The reference in a pass of the policy. */
export const referenceInPass =
  ({ model, adapter }: ReferencePolicy, { sharesWeights, fp16 }: PolicyPass) =>
  (pass: ForwardPass): TeacherModel => {
    const { network, weights } = sharesWeights ? pass : model;
    // In the type of the weights that they stand beside.
    const parameters = mapTree(adapter.parameters as Named, (x) =>
      sharesWeights && fp16 && x.dtype === 'float32' ? x.cast('float16') : x,
    );
    return { network, weights, hooks: adapter.hooks(parameters) };
  };
