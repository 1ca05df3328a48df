import {
  options as declare,
  type Given,
  oneOf,
  PosttrainError,
  type Prompt,
  type Read,
  text,
  type Verdict,
  type Verifier,
  type VerifyRequest,
} from '@posttrain/interfaces';
import type { Adapter } from '../model/adapter.js';
import { askedAdapterOption } from '../model/adapter-option.js';
import type { CausalLM } from '../model/causal-lm.js';
import { NoChatTemplateError } from '../prompts/prompt-tokens.js';

const AGGREGATIONS = {
  last: (scores: readonly number[]) => scores.at(-1)!,
  min: (scores: readonly number[]) => Math.min(...scores),
  product: (scores: readonly number[]) => scores.reduce((product, score) => product * score, 1),
  mean: (scores: readonly number[]) => scores.reduce((sum, score) => sum + score, 0) / scores.length,
} as const;

export const stepVerifierShape = {
  /**
   * Text that the model was trained to be read after: Qwen2.5-Math-PRM `<extra_0>`, Math-Shepherd ` ки`; of `rewardModelLosses.process()` its
   * `stepSeparator`, by default a line break.
   */
  stepTag: text({}),
  /** Text between a tag and the next step: Math-Shepherd `\n`. Default none. */
  between: text({ optional: true }),
  /** What separates steps in a completion; parts without text are no steps. Default `\n\n`. */
  stepDelimiter: text({ default: '\n\n' }),
  /** How the scores of the steps become the score of the whole. Default `last`. */
  aggregation: oneOf(Object.keys(AGGREGATIONS) as (keyof typeof AGGREGATIONS)[], { default: 'last' }),
  /** Asked before every call. Default: none. */
  adapter: askedAdapterOption,
};
const stepVerifierOptions = declare('StepVerifier', stepVerifierShape);
/** Options of `StepVerifier`: where steps end, and how their scores become one. */
export type StepVerifierOptions = Given<typeof stepVerifierOptions>;

/** Steps of an answer cannot be found among its tokens. */
export class StepError extends PosttrainError {
  constructor(message: string) {
    super('STEPS', message);
  }
}

type TextModel = Pick<CausalLM, 'name' | 'tokenizer' | 'chatTemplate'>;

/** The score, between 0 and 1, after every token of each sequence. */
export type TokenScores = (
  sequences: readonly (readonly number[])[],
  adapter: Adapter | undefined,
) => Promise<readonly ArrayLike<number>[]>;

/**
 * A process reward model as a `Verifier`: the completion is cut into steps, a tag is put behind each, and the score of a
 * step is what the model says after its tag. Tags are found by their place in the text, so the text of a step may have
 * anything in it. A completion without a step has the score `null`.
 */
export class StepVerifier implements Verifier {
  readonly name: string;
  readonly #model: TextModel;
  readonly #scores: TokenScores;
  readonly #settings: Read<typeof stepVerifierOptions>;

  constructor(model: TextModel, scores: TokenScores, options: StepVerifierOptions) {
    const settings = stepVerifierOptions.read(options);
    if (options.stepTag === '') throw new StepError('stepTag must have text: the score is read at its last token');
    this.name = model.name;
    this.#model = model;
    this.#scores = scores;
    this.#settings = settings;
  }

  async verify(requests: readonly VerifyRequest[]): Promise<Verdict[]> {
    const { stepDelimiter, aggregation, adapter } = this.#settings;
    const tagged = requests.map(({ prompt, completion }) => {
      const steps = completion.split(stepDelimiter).filter((step) => step.trim() !== '');
      return steps.length === 0 ? undefined : taggedTokens(this.#model, prompt, steps, this.#settings);
    });
    const scored = await this.#scores(
      tagged.flatMap((sequence) => (sequence ? [sequence.tokens] : [])),
      adapter?.(),
    );
    let next = 0;
    return tagged.map((sequence): Verdict => {
      if (!sequence) return { score: null, stepScores: [] };
      const scores = scored[next++]!;
      const stepScores = sequence.positions.map((position) => scores[position]!);
      return { score: AGGREGATIONS[aggregation](stepScores), stepScores };
    });
  }
}

/**
 * The tokens of a prompt with tagged steps, and the position of each tag's last token.
 *
 * @throws StepError when a tag does not end a token, or the chat template changes the answer
 */
export function taggedTokens(
  model: TextModel,
  prompt: Prompt,
  steps: readonly string[],
  { stepTag, between = '' }: Pick<StepVerifierOptions, 'stepTag' | 'between'>,
): { readonly tokens: number[]; readonly positions: number[] } {
  const answer = steps.map((step) => step + stepTag).join(between);
  const { text, tokens } = rendered(model, prompt, answer);
  const start = text.lastIndexOf(answer);
  if (start < 0)
    throw new StepError(`${model.name}: the chat template changes the answer, so its tags cannot be found`);
  const { ids, offsets } = model.tokenizer.encodeWithOffsets(text, { whole: true });
  // The tokenizer may put special tokens before and behind.
  const shift = tokens.findIndex((_, i) => ids.every((id, j) => tokens[i + j] === id));
  let end = start;
  const positions = steps.map((step, i) => {
    end += (i === 0 ? 0 : between.length) + step.length + stepTag.length;
    const token = offsets.findLastIndex((span) => span[1] === end);
    if (token >= 0) return shift + token;
    const tag = JSON.stringify(stepTag);
    throw new StepError(
      `${model.name}: step ${i} ${JSON.stringify(step.slice(-40))} with the tag ${tag} does not end where a token ends`,
    );
  });
  return { tokens, positions };
}

function rendered(
  { tokenizer, chatTemplate, name }: TextModel,
  prompt: Prompt,
  answer: string,
): { readonly text: string; readonly tokens: number[] } {
  if (typeof prompt === 'string') return { text: prompt + answer, tokens: tokenizer.encode(prompt + answer) };
  if (!chatTemplate) throw new NoChatTemplateError(name);
  const conversation = [...prompt, { role: 'assistant', content: answer }];
  const { text, tokenIds } = chatTemplate.renderChat(conversation, { continueFinalMessage: true });
  return { text, tokens: tokenIds };
}
