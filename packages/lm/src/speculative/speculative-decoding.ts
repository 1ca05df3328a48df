import { custom, options as declare, type Given, integer, oneOf, PosttrainError } from '@posttrain/interfaces';
import type { CausalLM } from '../model/causal-lm.js';
import { DRAFT_SCHEDULES } from './draft-length.js';
import { DraftModel } from './draft-model.js';
import { type EagleSpeculation, eagle } from './eagle.js';
import { Medusa, type MedusaSpeculation } from './medusa.js';
import { type PromptLookupOptions, promptLookup, promptLookupProposer } from './prompt-lookup.js';
import type { Proposer } from './proposer.js';

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null;
const isModel = (value: unknown): boolean =>
  isObject(value) && ['network', 'tokenizer', 'weights'].every((key) => key in (value as object));

const draftOptions = declare('speculative', {
  /** A smaller model with the same tokens. */
  draft: custom<CausalLM>()('a loaded model, as CausalLM.load gives it', isModel, {
    settings: ({ name }) => name,
    hint: (value) => (isObject(value) && 'model' in (value as object) ? 'Give its model itself.' : undefined),
  }),
  /** Tokens it proposes for a pass of the model, to begin with. Default 5. */
  tokens: integer({ default: 5, min: 1 }),
  /** Whether that number stays (`constant`, the default) or follows how many are kept (`heuristic`). */
  schedule: oneOf(DRAFT_SCHEDULES, { default: 'constant' }),
});
/** Speculative decoding (arXiv 2211.17192) with a smaller model that proposes tokens. */
export type DraftModelSpeculation = Given<typeof draftOptions>;

const promptLookupOptions = declare('speculative', {
  /** Proposals are what followed the last few tokens where they occurred before. */
  promptLookup: custom<PromptLookupOptions>()('an object', isObject, {}),
});
/** Speculative decoding whose proposals are looked up in the prompt and what was generated. */
export type PromptLookupSpeculation = Given<typeof promptLookupOptions>;

const proposerOptions = declare('speculative', {
  /** Makes one for each run of rows, which is closed after it. */
  proposer: custom<(run: ProposerRun) => Proposer>()(
    'a function that makes a proposer',
    (value) => typeof value === 'function',
    {},
  ),
});
/** Speculative decoding with a proposer of one's own. */
export type ProposerSpeculation = Given<typeof proposerOptions>;

/** What a proposer is made for. */
export interface ProposerRun {
  readonly model: CausalLM;
  /** What the model's own cache holds. */
  readonly cacheTokens: number;
}

/** Where the proposals of speculative decoding come from. */
export type SpeculativeOptions =
  | DraftModelSpeculation
  | PromptLookupSpeculation
  | MedusaSpeculation
  | EagleSpeculation
  | ProposerSpeculation;

/** What speculation has done so far, over all rows. */
export interface SpeculativeStatistics {
  /** Passes of the model after the prompt, one for every row that was in it. */
  readonly passes: number;
  /** Tokens that came out of them. */
  readonly tokens: number;
  readonly proposed: number;
  readonly accepted: number;
  /** accepted / proposed; NaN before the first proposal. */
  readonly acceptanceRate: number;
  /** tokens / passes, 1 without speculation; NaN before the first pass. */
  readonly tokensPerPass: number;
  /** Whether what was generated has the model's own distribution, which typical acceptance takes from it. */
  readonly isExact: boolean;
}

/** A draft whose tokens are not the model's. */
export class DraftVocabularyError extends PosttrainError {
  constructor(draft: string, target: string, difference: string) {
    super(
      'DRAFT_VOCABULARY',
      `speculative decoding: the draft ${draft} does not have the tokens of ${target}: ${difference}; use a draft of the same family, or promptLookup`,
    );
  }
}

/**
 * Speculative decoding (arXiv 2211.17192, arXiv 2302.01318): a draft proposes a few tokens, the model computes all of them
 * in one pass and keeps those that it could have drawn itself (see `verifyToken`). The distribution of what is generated
 * is the model's own; greedy gives the same tokens as without. With acceptance rate α and proposals of γ tokens a pass
 * gives (1 − α^(γ+1)) / (1 − α) tokens on average, when proposals are kept independently of each other.
 */
export class SpeculativeDecoding {
  readonly #proposer: (cacheTokens: number) => Proposer;
  #isExact = true;
  readonly #counts = { passes: 0, tokens: 0, proposed: 0, accepted: 0 };

  /** @throws OptionError, DraftVocabularyError, and `PosttrainError` for heads that do not fit */
  constructor(target: CausalLM, options: SpeculativeOptions) {
    this.#proposer = proposerOf(target, options);
  }

  get statistics(): SpeculativeStatistics {
    const { passes, tokens, proposed, accepted } = this.#counts;
    return {
      ...this.#counts,
      isExact: this.#isExact,
      acceptanceRate: accepted / proposed,
      tokensPerPass: tokens / passes,
    };
  }

  /** A proposer for a run of rows; close it. `cacheTokens` is what the model's own cache holds. */
  begin(cacheTokens: number): Proposer {
    const proposer = this.#proposer(cacheTokens);
    this.#isExact &&= proposer.isExact ?? true;
    return {
      isExact: proposer.isExact ?? true,
      needsHidden: proposer.needsHidden ?? false,
      propose: (requests) => proposer.propose(requests),
      verified: (id, run) => {
        this.#counts.passes++;
        this.#counts.tokens += run.drawn.length;
        this.#counts.proposed += run.proposed;
        this.#counts.accepted += run.accepted;
        proposer.verified?.(id, run);
      },
      release: (id) => proposer.release(id),
      close: () => proposer.close(),
    };
  }
}

/** How a proposer is made for a run. */
function proposerOf(target: CausalLM, options: SpeculativeOptions): (cacheTokens: number) => Proposer {
  if ('promptLookup' in options) {
    const { promptLookup: own } = promptLookupOptions.read(options);
    promptLookup([], own);
    return () => promptLookupProposer(own);
  }
  if ('medusa' in options) {
    // One for all runs: what is compiled for it is its own.
    const medusa = new Medusa(target, options);
    return () => medusa;
  }
  if ('eagle' in options) {
    return eagle(target, options);
  }
  if ('proposer' in options) {
    const { proposer } = proposerOptions.read(options);
    return (cacheTokens) => proposer({ model: target, cacheTokens });
  }
  const { draft, tokens, schedule } = draftOptions.read(options);
  checkSameTokens(draft, target);
  const { vocabSize } = target.config;
  return (cacheTokens) => new DraftModel(draft, { tokens, schedule, vocabSize, cacheTokens });
}

function checkSameTokens(draft: CausalLM, target: CausalLM): void {
  const fail = (difference: string) => {
    throw new DraftVocabularyError(draft.name, target.name, difference);
  };
  const [ours, theirs] = [target.tokenizer, draft.tokenizer];
  if (ours === theirs) return;
  if (ours.vocabSize !== theirs.vocabSize) fail(`${theirs.vocabSize} of them, not ${ours.vocabSize}`);
  for (let id = 0; id < ours.vocabSize; id++) {
    const [token, other] = [ours.idToToken(id), theirs.idToToken(id)];
    if (token !== other) fail(`${id} is ${JSON.stringify(other)}, not ${JSON.stringify(token)}`);
  }
}
