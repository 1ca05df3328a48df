import { type CandidateScorer, candidateScorer } from '../distribution.js';
import type { GenerateRequest, Generator, SamplingParams, Usage } from '../generate.js';
import { custom, integer, oneOf, text } from '../options/option.js';
import { OptionError } from '../options/option-error.js';
import { type Given, options } from '../options/options.js';
import type { ChatMessage, Prompt } from '../prompt.js';
import type { Scorer } from '../score.js';
import type { HasSettings } from '../settings.js';
import type { Verdict, Verifier, VerifyRequest } from '../verify.js';

const has = (value: unknown, method: string): boolean =>
  typeof (value as Record<string, unknown> | null | undefined)?.[method] === 'function';

const QUESTION = 'Is the answer correct (Yes/No)?';

const generativeVerifierOptions = options('generativeVerifier', {
  /** Who weighs Yes against No: a `Scorer`, or a `CandidateScorer`. */
  scorer: custom<Scorer | CandidateScorer>()(
    'a scorer ({ name, score(requests) }, or with distributions)',
    (value) => has(value, 'score') || has(value, 'distributions'),
    { settings: ({ name }) => name },
  ),
  /** Who thinks before the verdict (GenRM-CoT); the same model as `scorer`. Default: nobody. */
  generator: custom<Generator>()('a generator', (value) => has(value, 'generate'), {
    optional: true,
    settings: ({ name }) => name,
  }),
  /** Thoughts of each completion, over whose verdicts is averaged. Default 1. */
  n: integer({ default: 1, min: 1 }),
  /** How thoughts are sampled. Default: at most 1,024 tokens, at temperature 0, or 1 where `n` is more than 1. */
  sampling: custom<SamplingParams>()(
    'an object of sampling parameters',
    (value) => typeof value === 'object' && value !== null,
    {
      optional: true,
    },
  ),
  /** P(Yes) of all that could be said (`vocabulary`), or of Yes and No only (`candidates`). Default vocabulary. */
  normalization: oneOf(['vocabulary', 'candidates'], { default: 'vocabulary' }),
  /** What follows the solution. */
  question: text({ default: QUESTION }),
});
/** Options of `generativeVerifier`. */
export type GenerativeVerifierOptions = Given<typeof generativeVerifierOptions>;

/** What a generative verifier says of right and of wrong answers. */
export const VERIFICATION_ANSWERS = { right: 'Yes', wrong: 'No' } as const;

const THINK = "Let's verify step by step.";

/**
 * What a generative verifier is asked: the problem, the solution and a question, in the form that the problem has. A verifier is trained on the same
 * (`generativeVerifierRows` of `@posttrain/data`).
 *
 * @param thoughts of a verifier that thinks first; `null`: it is to think now
 */
export function verificationPrompt(
  { prompt, completion }: Pick<VerifyRequest, 'prompt' | 'completion'>,
  question: string = QUESTION,
  thoughts?: string | null,
): Prompt {
  const asked = thoughts === undefined ? `${question}\n` : `${THINK}\n`;
  if (typeof prompt === 'string') {
    const start = `${prompt}\n${completion}\n${asked}`;
    return typeof thoughts === 'string' ? `${start}${thoughts}\nVerification: ${question}\n` : start;
  }
  const conversation: readonly ChatMessage[] = [
    ...prompt,
    { role: 'assistant', content: completion },
    { role: 'user', content: asked.trimEnd() },
  ];
  if (typeof thoughts !== 'string') return conversation;
  return [...conversation, { role: 'assistant', content: thoughts }, { role: 'user', content: question }];
}

/**
 * A generative verifier (GenRM, arXiv 2408.15240, §3): the score is P(Yes | x, y, "Is the answer correct (Yes/No)?") of a language model, trained to say so by
 * next-token prediction. With a `generator` it thinks first (GenRM-CoT), and the score is the mean of P(Yes) over `n` thoughts.
 *
 * @throws OptionError; what scorer and generator throw
 */
export function generativeVerifier(given: GenerativeVerifierOptions): Verifier & HasSettings {
  const { scorer, generator, n, sampling, normalization, question } = generativeVerifierOptions.read(given);
  if (n > 1 && !generator) {
    const problem = `n is ${n}, but without a generator there are no thoughts to average over.`;
    throw new OptionError('INVALID_OPTION', 'generativeVerifier', 'n', problem);
  }
  const weigh = has(scorer, 'distributions') ? (scorer as CandidateScorer) : candidateScorer(scorer as Scorer);
  const candidates = [VERIFICATION_ANSWERS.right, VERIFICATION_ANSWERS.wrong];
  const probabilities = async (prompts: readonly Prompt[]): Promise<number[]> => {
    const found = await weigh.distributions(prompts.map((prompt) => ({ prompt, candidates })));
    return found.map((one) => (normalization === 'vocabulary' ? Math.exp(one.logProbs[0]!) : one.probabilities[0]!));
  };
  return {
    name: `generativeVerifier(${scorer.name})`,
    settings: generativeVerifierOptions.settings(given),
    async verify(requests): Promise<Verdict[]> {
      if (!generator) {
        const scores = await probabilities(requests.map((request) => verificationPrompt(request, question)));
        return scores.map((score) => ({ score }));
      }
      const thoughts = await generator.generate(
        requests.map(
          (request): GenerateRequest => ({
            ...{ maxTokens: 1024, temperature: n > 1 ? 1 : 0 },
            ...sampling,
            ...{ prompt: verificationPrompt(request, question, null), n },
            ...(request.signal && { signal: request.signal }),
          }),
        ),
      );
      const prompts = requests.flatMap((request, i) =>
        thoughts[i]!.map(({ text: thought }) => verificationPrompt(request, question, thought)),
      );
      const scores = await probabilities(prompts);
      let next = 0;
      return thoughts.map((own) => {
        const mine = own.map(() => scores[next++]!);
        const usage = own.reduce(
          (sum: Usage, { usage: { promptTokens, completionTokens } }) => ({
            promptTokens: sum.promptTokens + promptTokens,
            completionTokens: sum.completionTokens + completionTokens,
          }),
          { promptTokens: 0, completionTokens: 0 },
        );
        const score = mine.length === 0 ? null : mine.reduce((a, b) => a + b, 0) / mine.length;
        return { score, usage, ...(own[0] && { explanation: own[0].text }) };
      });
    },
  };
}
