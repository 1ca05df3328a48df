import { custom, type Given, integer, options, type Prompt } from '@posttrain/interfaces';
import type { PromptRow } from '../rewards/reward.js';
import { generatorOf, seedOf } from '../rollout/rollout-source.js';
import { completionMetrics, meanOf, promptFeed, promptsShape, SECOND_SPEAKER } from './judged-prompts.js';
import { preferredPair } from './online-pairs.js';
import type { PreferenceSource } from './preference-source.js';

/** What the policy is asked to judge. */
export interface JudgedCompletion {
  readonly prompt: Prompt;
  readonly completion: string;
}

const isFunction = (value: unknown): boolean => typeof value === 'function';

const selfRewardingOptions = options('selfRewardingPairs', {
  ...promptsShape,
  /** Completions of each prompt, of which the best and the worst are a pair. Default 4. */
  completionsPerPrompt: integer({ default: 4, min: 2 }),
  /** How often each completion is judged; its score is the mean. Default 3. */
  judgements: integer({ default: 3, min: 1 }),
  /** What the policy is asked. Default: to give up to five points, one for each of five qualities. */
  judgePrompt: custom<(asked: JudgedCompletion) => Prompt>()('a function of { prompt, completion }', isFunction, {
    optional: true,
  }),
  /** The score in what it wrote; null: none. Default: the last `Score: n` with n from 0 to 5. */
  parse: custom<(text: string) => number | null>()('a function of a text', isFunction, { optional: true }),
  /** Most tokens of a judgement. Default 512. */
  maxJudgementLength: integer({ default: 512, min: 1 }),
});
/** Options of `selfRewardingPairs`. */
export type SelfRewardingPairsOptions = Given<typeof selfRewardingOptions>;

/**
 * Self-rewarding language models (arXiv 2401.10020): the policy samples completions of each prompt, judges them itself, and learns to prefer
 * the best to the worst. One iteration of the paper is one run of `trainPreferences`; in one run the judge is the policy of the step.
 * Prompts whose completions all have one score, or of which fewer than two could be scored, are left out and counted in `frac_undecided`.
 * Metrics: `objective/scores` (its own), `frac_unscored` and those of what was sampled.
 *
 * @throws OptionError, PromptRowError before the first step
 */
export function selfRewardingPairs(given: SelfRewardingPairsOptions): PreferenceSource {
  const settings = selfRewardingOptions.read(given);
  const { completionsPerPrompt: n, judgements, judgePrompt = pointsPrompt, parse = lastScore } = settings;
  const feed = promptFeed('selfRewardingPairs', settings);
  return {
    name: 'self-rewarding-pairs',
    settings: selfRewardingOptions.settings(given),
    begin: feed.begin,
    async next(request) {
      const rollouts = await feed.sample(request, { completionsPerPrompt: n });
      const key = request.key.child(SECOND_SPEAKER);
      const sampling = { maxTokens: settings.maxJudgementLength };
      const judge = generatorOf({ ...request, sampling, maxBatch: settings.maxBatch });
      const written = await judge.generate(
        rollouts.map(({ row, text }, i) => ({
          prompt: judgePrompt({ prompt: (row as PromptRow).prompt, completion: text ?? '' }),
          ...{ ...sampling, n: judgements, seed: seedOf(key.child(i)), temperature: settings.temperature },
          ...(request.signal && { signal: request.signal }),
        })),
      );
      request.signal?.throwIfAborted();
      const scores = written.map((texts) => {
        const said = texts.map(({ text }) => parse(text)).filter((score) => score !== null);
        return said.length > 0 ? meanOf(said) : null;
      });
      const rows = Array.from({ length: request.count }, (_, p) => {
        const known = Array.from({ length: n }, (__, i) => p * n + i).filter((i) => scores[i] !== null);
        if (known.length < 2) return undefined;
        const by = (isBetter: (a: number, b: number) => boolean) =>
          known.reduce((a, b) => (isBetter(scores[b]!, scores[a]!) ? b : a));
        const [best, worst] = [by((a, b) => a > b), by((a, b) => a < b)];
        return preferredPair([rollouts[best]!, rollouts[worst]!], scores[best]! - scores[worst]!);
      }).filter((pair) => pair !== undefined);
      const known = scores.filter((score) => score !== null);
      return {
        rows,
        metrics: {
          ...(known.length > 0 && { 'objective/scores': meanOf(known) }),
          ...completionMetrics(rollouts),
          frac_unscored: 1 - known.length / scores.length,
          frac_undecided: 1 - rows.length / request.count,
        },
      };
    },
  };
}

const asText = (prompt: Prompt): string =>
  typeof prompt === 'string' ? prompt : prompt.map(({ role, content }) => `${role}: ${content}`).join('\n\n');

function pointsPrompt({ prompt, completion }: JudgedCompletion): Prompt {
  return [
    {
      role: 'user',
      content:
        `# Request\n${asText(prompt)}\n\n# Answer\n${completion}\n\n` +
        'Judge the answer. It earns a point for each of these that is true of it: it is about what was asked; it covers most of it; ' +
        'it can be used as it stands; it is clear and well ordered; an expert would have nothing to add. ' +
        'Give your reasons in a few sentences, and end with a line "Score: n", n being the sum of the points.',
    },
  ];
}

function lastScore(text: string): number | null {
  const said = [...text.matchAll(/score:\s*([0-5])(?![\d.])/gi)].at(-1)?.[1];
  return said === undefined ? null : Number(said);
}
