import { custom, type Given, type HasSettings, options, PosttrainError, type Verifier } from '@posttrain/interfaces';
import {
  type AnswerExtractor,
  type AnswerOptions,
  answerShape,
  answersEqual,
  extractFinalAnswer,
} from '@posttrain/interfaces/answers';
import { groupReward } from './group-reward.js';

const isFunction = (value: unknown): boolean => typeof value === 'function';

const ttrlOptions = options('ttrl', {
  ...answerShape,
  /** The answer of a completion, or null. Default: its final answer, as `extractFinalAnswer` finds it. */
  extract: custom<AnswerExtractor>()('a function of a text', isFunction, { optional: true, settings: String }),
});
/** Options of `ttrl`. */
export type TtrlOptions = Given<typeof ttrlOptions>;

const reader = ({ extract, ...answers }: { readonly extract?: AnswerExtractor | undefined } & AnswerOptions) => ({
  read: extract ?? ((text: string) => extractFinalAnswer(text, answers)),
  same: (a: string, b: string) => answersEqual(a, b, answers),
});

/** The answer that most completions have, of equally many the one that came first, and how many have it; null where none has an answer. */
export function majorityAnswer(
  answers: readonly (string | null)[],
  same: (a: string, b: string) => boolean = (a, b) => answersEqual(a, b),
): { readonly answer: string; readonly count: number } | null {
  const ballots: { readonly answer: string; count: number }[] = [];
  for (const answer of answers) {
    if (answer === null) continue;
    const known = ballots.find((ballot) => same(ballot.answer, answer));
    if (known) known.count++;
    else ballots.push({ answer, count: 1 });
  }
  return ballots.reduce<{ readonly answer: string; readonly count: number } | null>(
    (best, ballot) => (best === null || ballot.count > best.count ? ballot : best),
    null,
  );
}

/**
 * The reward of test-time reinforcement learning (TTRL, arXiv 2504.16084): there is no reference answer; what most completions of a prompt answer is
 * taken for the right one, and a completion that answers it has 1, else 0. Of a prompt that no completion answers none is scored. It learns what
 * the policy agrees on with itself, so that it can only be as right as its majority: `ttrlReport` says how far the two part.
 *
 * @throws OptionError; RewardError outside of groups
 */
export function ttrl(given: TtrlOptions = {}): Verifier & HasSettings {
  const { read, same } = reader(ttrlOptions.read(given));
  return groupReward('ttrl', ttrlOptions.settings(given), (completions) => {
    const answers = completions.map(({ completion }) => read(completion));
    const majority = majorityAnswer(answers, same);
    if (!majority) return answers.map(() => null);
    return answers.map((answer) => (answer !== null && same(answer, majority.answer) ? 1 : 0));
  });
}

/** Completions of a prompt, and the answer that is right. */
export interface AnsweredGroup {
  readonly completions: readonly string[];
  readonly gold: string;
}

/** How far majorities are from what is right; means over prompts. */
export interface TtrlReport {
  /** maj@k: how often the majority's answer is right, TTRL's label accuracy. */
  readonly majorityAccuracy: number;
  /** How often a completion's reward is what the right answer would have given it. It is high where nobody agrees, too. */
  readonly rewardAccuracy: number;
  /** The share of completions that have the majority's answer: what the policy is paid. */
  readonly majorityShare: number;
  /** The share of completions that are right, avg@k: what it is to be paid. */
  readonly goldShare: number;
  /** `majorityShare` less `goldShare`: what the policy is paid for beyond what is right. It grows where a wrong majority is learnt. */
  readonly divergence: number;
  /** pass@k: how often any completion is right. */
  readonly passAtK: number;
  readonly prompts: number;
}

/**
 * What TTRL's pseudo-labels were worth, where the right answers are known (they are kept from the policy): arXiv 2504.16084, § 4.
 *
 * @throws OptionError; PosttrainError TTRL for no groups, or one without completions
 */
export function ttrlReport(groups: readonly AnsweredGroup[], given: TtrlOptions = {}): TtrlReport {
  const { read, same } = reader(ttrlOptions.read(given));
  if (groups.length === 0 || groups.some(({ completions }) => completions.length === 0)) {
    throw new PosttrainError('TTRL', 'ttrlReport: every prompt needs completions, and there must be a prompt');
  }
  const each = groups.map(({ completions, gold }) => {
    const answers = completions.map(read);
    const majority = majorityAnswer(answers, same);
    const right = answers.map((answer) => answer !== null && same(answer, gold));
    const paid = answers.map((answer) => majority !== null && answer !== null && same(answer, majority.answer));
    const share = (of: readonly boolean[]) => of.filter(Boolean).length / of.length;
    return {
      majorityAccuracy: Number(majority !== null && same(majority.answer, gold)),
      rewardAccuracy: share(right.map((isRight, i) => isRight === paid[i])),
      majorityShare: share(paid),
      goldShare: share(right),
      divergence: share(paid) - share(right),
      passAtK: Number(right.includes(true)),
    };
  });
  const mean = (of: (one: (typeof each)[number]) => number) =>
    each.reduce((sum, one) => sum + of(one), 0) / each.length;
  return {
    majorityAccuracy: mean((one) => one.majorityAccuracy),
    rewardAccuracy: mean((one) => one.rewardAccuracy),
    majorityShare: mean((one) => one.majorityShare),
    goldShare: mean((one) => one.goldShare),
    divergence: mean((one) => one.divergence),
    passAtK: mean((one) => one.passAtK),
    prompts: each.length,
  };
}
