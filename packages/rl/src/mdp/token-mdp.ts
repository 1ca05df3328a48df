import { custom, type Given, integer, number, options } from '@posttrain/interfaces';
import type { Rollout } from '../rollout.js';
import { checkPolicy, type FiniteMdp, finiteMdp, MdpError, type PolicyTable } from './finite-mdp.js';

/** What a completion is worth: its tokens, and the prompt that it answers. */
type CompletionReward = (tokens: readonly number[], prompt: number) => number;

const isFunction = (value: unknown): boolean => typeof value === 'function';

const tokenMdpOptions = options('tokenMdp', {
  /** How many tokens there are: 0 … vocabulary - 1. */
  vocabulary: integer({ min: 1 }),
  /** Most tokens of a completion. */
  maxLength: integer({ min: 1 }),
  /** The token that ends a completion before that. Default: none, and all are of one length. */
  endToken: integer({ optional: true, min: 0 }),
  /** How many prompts there are, each as likely as another. Default 1. */
  prompts: integer({ default: 1, min: 1 }),
  /** What the whole completion is worth, paid with its last token. */
  reward: custom<CompletionReward>()('a function (tokens, prompt) => number', isFunction, {}),
  /** What the last token of a beginning is worth beside that. Default: nothing. */
  tokenReward: custom<CompletionReward>()('a function (tokens, prompt) => number', isFunction, { optional: true }),
  /** γ. Default 1. */
  gamma: number({ default: 1, min: 0, max: 1 }),
});
/** Options of `tokenMdp`. */
export type TokenMdpOptions = Given<typeof tokenMdpOptions>;

/** Most states that are made. */
const MOST_STATES = 100_000;

/** A completion, what it is worth, and how likely a policy is to write it. */
export interface EnumeratedCompletion {
  readonly prompt: number;
  readonly tokens: readonly number[];
  /** Before each token. */
  readonly states: readonly number[];
  /** Given the prompt. */
  readonly probability: number;
  /** log π of each token, in nats. */
  readonly logProbs: readonly number[];
  readonly reward: number;
  /** Of each token, beside it. */
  readonly tokenRewards: readonly number[];
}

/** Writing a text as an MDP: a state is a prompt with what has been written, an action the next token. */
export interface TokenMdp extends FiniteMdp {
  readonly prompts: number;
  /** The state of a beginning. @throws MdpError for one that is none, or is complete */
  stateOf(prompt: number, tokens: readonly number[]): number;
  /** Every completion of a prompt, with its probability under a policy; they sum to 1. */
  completions(policy: PolicyTable, prompt?: number): EnumeratedCompletion[];
}

/**
 * The MDP of a language model (arXiv 2502.21321, § 2), small enough to be enumerated: s_t = (x, y_<t), a_t = y_t, and the next state is the
 * two together, with certainty. States are numbered with shorter beginnings first, so that one sweep finds all values.
 *
 * @throws OptionError; MdpError for more than 100,000 states
 */
export function tokenMdp(given: TokenMdpOptions): TokenMdp {
  const { vocabulary, maxLength, endToken, prompts, reward, tokenReward, gamma } = tokenMdpOptions.read(given);
  const name = 'token-mdp';
  const goesOn = endToken !== undefined && endToken < vocabulary ? vocabulary - 1 : vocabulary;
  const count = Array.from({ length: maxLength }, (_, length) => prompts * goesOn ** length).reduce((a, b) => a + b);
  if (count > MOST_STATES) throw new MdpError(name, `it has ${count} states, more than ${MOST_STATES}`);
  const isComplete = (tokens: readonly number[]) => tokens.length === maxLength || tokens.at(-1) === endToken;
  const beginnings: { readonly prompt: number; readonly tokens: readonly number[] }[] = [];
  const numbers = new Map<string, number>();
  const nameOf = (prompt: number, tokens: readonly number[]) => `${prompt}:${tokens.join()}`;
  let layer = Array.from({ length: prompts }, (_, prompt) => ({ prompt, tokens: [] as readonly number[] }));
  while (layer.length > 0) {
    for (const { prompt, tokens } of layer) numbers.set(nameOf(prompt, tokens), numbers.size);
    beginnings.push(...layer);
    layer = layer.flatMap(({ prompt, tokens }) =>
      Array.from({ length: vocabulary }, (_, token) => ({ prompt, tokens: [...tokens, token] })).filter(
        (next) => !isComplete(next.tokens),
      ),
    );
  }
  const stateOf = (prompt: number, tokens: readonly number[]): number => {
    const state = numbers.get(nameOf(prompt, tokens));
    if (state === undefined)
      throw new MdpError(name, `[${tokens}] of prompt ${prompt} is no beginning of a completion`);
    return state;
  };
  const mdp: TokenMdp = {
    ...{ name, prompts, gamma, stateOf },
    states: beginnings.length,
    actions: vocabulary,
    start: beginnings.map(({ tokens }) => (tokens.length === 0 ? 1 / prompts : 0)),
    outcomes(state, action) {
      const { prompt, tokens } = beginnings[state]!;
      const written = [...tokens, action];
      const own = tokenReward?.(written, prompt) ?? 0;
      if (!isComplete(written)) return [{ probability: 1, reward: own, next: stateOf(prompt, written) }];
      return [{ probability: 1, reward: own + reward(written, prompt), next: null }];
    },
    completions(policy, prompt = 0) {
      checkPolicy(mdp, policy);
      const found: EnumeratedCompletion[] = [];
      const write = (tokens: readonly number[], states: readonly number[], logProbs: readonly number[]): void => {
        if (tokens.length > 0 && isComplete(tokens)) {
          const tokenRewards = tokens.map((_, t) => tokenReward?.(tokens.slice(0, t + 1), prompt) ?? 0);
          const probability = Math.exp(logProbs.reduce((a, b) => a + b, 0));
          found.push({ prompt, tokens, states, probability, logProbs, reward: reward(tokens, prompt), tokenRewards });
          return;
        }
        const state = stateOf(prompt, tokens);
        policy[state]!.forEach((p, token) => {
          write([...tokens, token], [...states, state], [...logProbs, Math.log(p)]);
        });
      };
      write([], [], []);
      return found;
    },
  };
  finiteMdp(mdp);
  return mdp;
}

/**
 * An enumerated completion as a rollout, for advantages and objectives: its prompt is one token, `prompt`, and `values` are those of
 * a table.
 *
 * @param values V(s) of every state: `policyValues(mdp, policy).values`
 */
export const rolloutOfCompletion = (
  { prompt, tokens, states, logProbs, reward, tokenRewards }: EnumeratedCompletion,
  values?: readonly number[],
): Rollout => ({
  ...{ group: prompt, promptTokens: [prompt], completionTokens: tokens, reward, tokenRewards },
  ...{ oldLogProbs: logProbs, samplerLogProbs: logProbs, finishReason: 'stop' },
  ...(values && { values: states.map((state) => values[state]!) }),
});
