import { custom, type Given, integer, oneOf, options, PosttrainError } from '@posttrain/interfaces';
import type { CausalLM } from '../model/causal-lm.js';
import { type Eagle2Tree, eagle2Options, eagle2Tree } from './eagle-2-tree.js';
import { chainDraft, type MakeEagleDraft } from './eagle-draft.js';
import { EagleHead } from './eagle-head.js';
import { EagleRun } from './eagle-run.js';
import { eagleStaticTree } from './eagle-static-tree.js';
import { eagleSteps } from './eagle-steps.js';
import type { Proposer } from './proposer.js';
import { isPaths, treeOf } from './token-tree.js';

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);

const eagleOptions = options('speculative', {
  /** Trained for this model. */
  eagle: custom<EagleHead>()('an EagleHead', (value) => value instanceof EagleHead, { settings: () => 'head' }),
  /** Tokens of the chain that it proposes for a pass of the model, where it is no tree. Default 5. */
  tokens: integer({ default: 5, min: 1 }),
  /**
   * A tree of this shape in place of the chain (reference: `tree_choices`): a path for each of its tokens, with the rank of each token
   * on it among those that the head gives there, from 0.
   */
  choices: custom<readonly (readonly number[])[]>()('a list of paths', isPaths, { optional: true }),
  /**
   * Of `choices`. `top`: the likeliest tokens; the row draws for itself, and gets what it would get without them. `sampled`: drawn,
   * without replacement, with the row's temperature and truncation, and verified one after the other, as in the paper. Greedy is
   * `top`. Default `top`.
   */
  candidates: oneOf(['top', 'sampled'], { default: 'top' }),
  /** A tree whose shape follows what the head is sure of (EAGLE-2, arXiv 2406.16858) in place of the chain: `{}`, or its options. */
  dynamicTree: custom<Eagle2Tree>()('an object', isObject, { optional: true }),
});
/** Speculative decoding with an autoregressive head on the model's own features (EAGLE, arXiv 2401.15077). */
export type EagleSpeculation = Given<typeof eagleOptions>;

/**
 * EAGLE (arXiv 2401.15077): the head reads the features of what a row has and goes on from features of its own, a step a depth for all
 * rows, with a key/value cache of its one layer. It drafts a chain, whose tokens are drawn with the row's own settings and verified like
 * those of a draft model, a tree of one shape (`choices`), or that of EAGLE-2 (`dynamicTree`). The features of a prompt take a pass of
 * the model of their own; those of what is generated come from the passes that verify it.
 *
 * @returns what makes a proposer for a run of rows
 * @throws OptionError, and PosttrainError for a head that does not fit the model, and choices that are no tree
 */
export function eagle(model: CausalLM, given: EagleSpeculation): () => Proposer {
  const { eagle: head, tokens, choices, candidates, dynamicTree } = eagleOptions.read(given);
  head.checkFits(model);
  if (choices && dynamicTree) {
    throw new PosttrainError('SPECULATIVE', 'speculative: choices and dynamicTree are two trees; give one of them.');
  }
  let draft: MakeEagleDraft = chainDraft(tokens);
  if (choices) draft = eagleStaticTree(treeOf(choices, { vocabSize: model.network.config.vocabSize }), candidates);
  if (dynamicTree) draft = eagle2Tree(eagle2Options.read(dynamicTree));
  const steps = eagleSteps(model, head);
  return () => new EagleRun(steps, draft);
}
