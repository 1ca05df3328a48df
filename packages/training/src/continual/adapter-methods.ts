import type { Named } from '@posttrain/core-tensor/optim';
import { custom, number, OptionError, options } from '@posttrain/interfaces';
import type { CausalLM } from '@posttrain/lm';
import type { TrainableAdapter } from '../trainer/trainable-adapter.js';
import type { ContinualMethod, ContinualState } from './continual-method.js';
import { oLora } from './o-lora.js';

// Methods of continual learning that train an adapter of its own for every task.

/** How a stream goes on with another adapter. */
export interface NextAdapter {
  /** The model with the adapter in its weights, and a new adapter that changes nothing yet, for the task `index`. */
  readonly next: (
    learnt: { readonly model: CausalLM; readonly adapter: TrainableAdapter },
    index: number,
  ) => Promise<ContinualState>;
}

/** How a stream of prompts goes on. */
export interface NextPrompt {
  /** The adapter of the task `index`, whose prompt stands before those of the adapter of the task before. */
  readonly next: (
    learnt: { readonly model: CausalLM; readonly adapter: TrainableAdapter },
    index: number,
  ) => TrainableAdapter | Promise<TrainableAdapter>;
}

const isFunction = (value: unknown): boolean => typeof value === 'function';
const next = custom<NextAdapter['next']>()('a function', isFunction, { decisive: false });
const nextPrompt = custom<NextPrompt['next']>()('a function', isFunction, { decisive: false });
const declared = {
  adapter_per_task: options('continualMethods.adapter_per_task', { next }),
  o_lora: options('continualMethods.o_lora', { lambda: number({ min: 0 }), next }),
  progressive_prompts: options('continualMethods.progressive_prompts', { next: nextPrompt }),
};

function adapterOf({ adapter }: Pick<ContinualState, 'adapter'>, name: string): TrainableAdapter {
  if (adapter) return adapter;
  throw new OptionError(
    'INVALID_OPTION',
    'trainStream',
    'method',
    `${name} needs an adapter, and the stream trains all weights; give it one.`,
  );
}

/** Of `continualMethods`: those with an adapter of its own for every task. */
export const adapterMethods = {
  /**
   * An adapter of its own for every task: `next` merges what was learnt into the model and makes the next adapter for that. The stream's
   * `adapter` is that of the first task. With OSF of `@posttrain/peft` it is orthogonal subspace fine-tuning (arXiv 2504.07097), with LoRA
   * the control of `o_lora`.
   */
  adapter_per_task(given: NextAdapter): ContinualMethod {
    const { next } = declared.adapter_per_task.read(given);
    return {
      ...{ name: 'adapter-per-task', family: 'architecture' },
      end: (learnt) => next({ model: learnt.model, adapter: adapterOf(learnt, 'adapter-per-task') }, learnt.index + 1),
    };
  },

  /** The same with LoRA, whose new directions stay apart from those of every earlier task: `oLora` (arXiv 2310.14152). */
  o_lora(given: NextAdapter & { readonly lambda: number }): ContinualMethod {
    const { lambda, next } = declared.o_lora.read(given);
    const earlier: Named[] = [];
    return {
      ...{ name: 'o-lora', family: 'regularisation' },
      begin: () => (earlier.length > 0 ? { penalties: [oLora({ earlier: [...earlier], lambda })] } : {}),
      async end(learnt) {
        const adapter = adapterOf(learnt, 'o-lora');
        earlier.push(await learnt.trainer.copyParameters());
        return next({ model: learnt.model, adapter }, learnt.index + 1);
      },
    };
  },

  /**
   * A prompt of its own for every task, before those of all earlier ones, which stay (progressive prompts, arXiv 2301.12314): `next` is `progressivePrompt`
   * of `@posttrain/peft`, and the stream's `adapter` is the prompt of the first task. A task that has been learnt is measured with the
   * prompts that it was learnt with, since its rows say whose they are; one that has not, with all that there are.
   */
  progressive_prompts(given: NextPrompt): ContinualMethod {
    const { next } = declared.progressive_prompts.read(given);
    const learnt: ContinualState[] = [];
    return {
      ...{ name: 'progressive-prompts', family: 'architecture' },
      async start({ model, adapter, index }) {
        const before = adapterOf({ adapter }, 'progressive-prompts');
        return index > 0 ? { model, adapter: await next({ model, adapter: before }, index) } : undefined;
      },
      end({ model, adapter }) {
        learnt.push({ model, adapter });
      },
      measuredWith: (index) => learnt[index],
    };
  },
} as const;
