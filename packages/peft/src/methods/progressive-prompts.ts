import { concat, type Tensor } from '@posttrain/core-tensor';
import { type CreateAdapterOptions, createAdapter } from '../adapters/adapter.js';
import { assertAdapter, assertModel } from '../adapters/arguments.js';
import { AdapterConfigError } from '../adapters/errors.js';
import type { AdaptableModel, PeftAdapter } from '../adapters/peft-adapter.js';
import type { PeftMethod } from '../adapters/peft-method.js';
import { PROMPT_EMBEDDINGS, promptPlan } from './prompt-learning.js';
import { type PromptTuningConfig, promptTuning } from './prompt-tuning.js';

const EARLIER = 'earlier_prompts';

/**
 * The prompt of the next task of progressive prompts (arXiv 2301.12314): P_k [v, width] is trained before the prompts of all earlier tasks, which stay
 * as they are, so that a sequence of task k is read behind [P_k; P_{k−1}; …; P_1]. The adapters of earlier tasks compute what they did:
 * a sequence is asked with the one of its own task. Of the first task it is prompt tuning.
 *
 * `continualMethods.progressive_prompts` makes one for each task of a stream. Files are those of PEFT's prompt tuning with all prompts as
 * one; read again, all of it is trained. Without the residual MLP that the paper trains short prompts through.
 *
 * @param earlier the adapter of the task before, undefined for the first; any whose virtual tokens are the same for every sequence
 * @throws AdapterConfigError for another adapter, or where the context has no room for all prompts; OptionError
 */
export async function progressivePrompt(
  model: AdaptableModel,
  earlier: PeftAdapter | undefined,
  config: Partial<PromptTuningConfig>,
  given: CreateAdapterOptions = {},
): Promise<PeftAdapter<PromptTuningConfig>> {
  assertModel('progressivePrompt', model);
  if (!earlier) return createAdapter(model, promptTuning, config, given);
  assertAdapter('progressivePrompt', earlier);
  const { virtualTokens } = earlier.hooks(earlier.parameters);
  if (!virtualTokens || 'kinds' in virtualTokens || virtualTokens.shape[1] !== model.config.hiddenSize) {
    throw new AdapterConfigError(
      `progressivePrompt: "${earlier.name}" has no prompt of this model's width that is the same for every sequence, as prompt tuning has`,
    );
  }
  return createAdapter(model, behind(virtualTokens), config, given);
}

/** Prompt tuning before other prompts [n, width], which stay. */
function behind(earlier: Tensor): PeftMethod<PromptTuningConfig> {
  const count = earlier.shape[0]!;
  const together = (config: PromptTuningConfig): PromptTuningConfig => {
    const { numVirtualTokens: own } = config;
    return own === null ? config : { ...config, numVirtualTokens: own + count };
  };
  const all = (own: Tensor, before: Tensor) => concat([own, before], 0);
  return {
    ...promptTuning,
    plan: (model, config, strictness) => ({ ...promptPlan(model, together(config), strictness), config }),
    init(context, base, key, prepared) {
      const { trained } = promptTuning.init(context, base, key, prepared);
      return { trained, frozen: { [EARLIER]: earlier } };
    },
    virtualTokens: (config) => together(config).numVirtualTokens!,
    hooks: (_, { trained, frozen }) => ({ virtualTokens: all(trained[PROMPT_EMBEDDINGS]!, frozen[EARLIER]!) }),
    fileConfig: together,
    toFile: (_, { trained, frozen }) => ({ [PROMPT_EMBEDDINGS]: all(trained[PROMPT_EMBEDDINGS]!, frozen[EARLIER]!) }),
  };
}
