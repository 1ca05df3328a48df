import {
  type CompareRequest,
  custom,
  type Given,
  integer,
  listOf,
  options,
  type PairJudge,
  type PairVerdict,
  type Prompt,
  type Scorer,
  text,
} from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { EvaluationError } from '../errors.js';
import { pairText } from './pair-judge.js';

const isFunction = (value: unknown): boolean => typeof value === 'function';

const aiFeedbackOptions = options('aiFeedback', {
  /** The model that judges: a `LocalScorer`, or an endpoint's. */
  scorer: custom<Scorer>()(
    'a scorer: an object with a name and score(requests)',
    (value) => isFunction((value as Scorer | null)?.score),
    { settings: ({ name }) => name },
  ),
  /** Principles of a constitution, of which one is drawn for every pair. Default: none, only what `prompt` says. */
  principles: listOf(text({}), { optional: true }),
  /** What it is asked, in one order, with the principle that was drawn. Default: both answers under their letters. */
  prompt: custom<(request: CompareRequest, principle: string | undefined) => Prompt>()(
    'a function of a pair',
    isFunction,
    {
      optional: true,
    },
  ),
  /** The two answers that are compared by their likelihood. Default `['A', 'B']`. */
  answers: listOf(text({}), { optional: true }),
  /** Names the principles that are drawn. Default 0. */
  seed: integer({ default: 0 }),
});
/** Options of `aiFeedback`. */
export type AiFeedbackOptions = Given<typeof aiFeedbackOptions>;

/**
 * Labels of AI feedback (RLAIF, arXiv 2309.00267 §3.1; Constitutional AI, arXiv 2212.08073 §4): `preference`, the probability that the first
 * answer is better, is the likelihood of "A" against that of "B", a mean over both orders of the two answers, so that a bias for a place
 * cancels; with a principle that is drawn by the pair's text. The likelier one wins; a tie is ½ exactly. A judge for `onlinePairs` (RLAIF as
 * a loop), for `nashMdCompletions`, or of pairs for a reward model.
 *
 * @throws OptionError; EvaluationError `BAD_RESPONSE` for a scorer that leaves requests out
 */
export function aiFeedback(given: AiFeedbackOptions): PairJudge {
  const {
    scorer,
    principles = [],
    prompt = principledPrompt,
    answers = ['A', 'B'],
    seed,
  } = aiFeedbackOptions.read(given);
  if (answers.length !== 2)
    throw new EvaluationError('BAD_OPTION', `aiFeedback: answers has ${answers.length} texts; give two.`);
  return {
    name: `AI feedback ${JSON.stringify(aiFeedbackOptions.settings(given))}`,
    async compare(requests) {
      const asked = requests.flatMap((request) => {
        const { first, second } = request;
        const drawn = createRandom(seed, JSON.stringify([request.prompt, [first, second].toSorted()]));
        const principle = principles[principles.length > 0 ? drawn.integer(0, principles.length - 1) : 0];
        const turned = { ...request, first: second, second: first };
        return [request, turned].flatMap((one) =>
          answers.map((continuation) => ({ prompt: prompt(one, principle), continuation })),
        );
      });
      const scores = await scorer.score(asked);
      if (scores.length !== asked.length) {
        throw new EvaluationError(
          'BAD_RESPONSE',
          `${scorer.name} gave ${scores.length} scores for ${asked.length} texts.`,
        );
      }
      return requests.map((_, i): PairVerdict => {
        const of = (j: number) => scores[4 * i + j]!.logProb;
        // (σ(x) + σ(-y)) / 2, which is ½ exactly where x is y.
        const preference = 0.5 + (Math.tanh((of(0) - of(1)) / 2) - Math.tanh((of(2) - of(3)) / 2)) / 4;
        return { winner: preference > 0.5 ? 'first' : preference < 0.5 ? 'second' : 'tie', preference };
      });
    },
  };
}

function principledPrompt(request: CompareRequest, principle: string | undefined): Prompt {
  const rule = principle ?? 'Judge how helpful, right and complete two answers to one request are';
  return [
    { role: 'system', content: `${rule.replace(/\.$/, '')}. Say with one letter which answer is better, A or B.` },
    { role: 'user', content: pairText(request) },
  ];
}
