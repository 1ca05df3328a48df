import type { Key } from '@posttrain/core-tensor';
import {
  custom,
  type Given,
  integer,
  number,
  OptionError,
  options,
  type PairJudge,
  PosttrainError,
  type Read,
} from '@posttrain/interfaces';
import {
  collectRows,
  contentHash,
  isRows,
  type Metrics,
  ROWS,
  RowOrder,
  type Rows,
  rowsHint,
} from '@posttrain/training';
import type { TokenizedPair } from '../preference/preference-loss.js';
import type { PromptRow, Rewards } from '../rewards/reward.js';
import {
  isRewards,
  REWARDS,
  refuseUnscorable,
  rewardSettings,
  weightedRewardsOf,
} from '../rewards/score-completions.js';
import { singleTurn } from '../rollout/single-turn.js';
import type { SampledRollout } from '../rollout.js';
import { samplingOf, samplingShape, scoringOption } from './policy-options.js';
import type { PreferenceBatch, PreferenceRequest, PreferenceSource } from './preference-source.js';
import { checkPrompts } from './prompts.js';
import { scoreRollouts } from './rollouts.js';

const isJudge = (value: unknown): boolean => typeof (value as Partial<PairJudge> | null)?.compare === 'function';

const onlinePairsOptions = options('onlinePairs', {
  /** The prompts; further columns reach rewards and judge. Every epoch has an order of its own. */
  rows: custom<Rows<PromptRow>>()(ROWS, isRows, { decisive: false, hint: rowsHint }),
  /** What scores completions: the better of two is chosen. TRL's `reward_funcs`. */
  rewards: custom<Rewards<PromptRow>>()(REWARDS, isRewards, { optional: true, settings: rewardSettings }),
  /** Or what compares two completions. It sees them in a random order. */
  judge: custom<PairJudge>()('a judge of pairs, with compare', isJudge, {
    optional: true,
    settings: ({ name }) => name,
  }),
  /** Most tokens of a completion; TRL's `max_new_tokens`. With the longest prompt it must fit into `maxLength`. Default 512. */
  maxCompletionLength: integer({ default: 512, min: 1 }),
  /** What a completion that reaches the limit loses of its score. Default: nothing. */
  missingEosPenalty: number({ optional: true, above: 0 }),
  ...samplingShape,
  ...scoringOption,
  /** Memory only: completions decoded together. Default 64. */
  maxBatch: integer({ default: 64, min: 1, decisive: false }),
});

/** Options of `onlinePairs`. */
export interface OnlinePairsOptions<Row extends PromptRow = PromptRow>
  extends Omit<Given<typeof onlinePairsOptions>, 'rows' | 'rewards'> {
  /** The prompts; further columns reach rewards and judge. */
  readonly rows: Rows<Row>;
  /** What scores completions: the better of two is chosen. */
  readonly rewards?: Rewards<NoInfer<Row>>;
}

type Settings = Read<typeof onlinePairsOptions>;

/** What a batch is drawn from. */
interface Prompts {
  readonly rows: readonly PromptRow[];
  readonly tokens: readonly (readonly number[])[];
  readonly order: RowOrder;
}

/**
 * Online DPO (OAIF, arXiv 2402.04792): in every step the policy samples two completions of each prompt, rewards or a judge say which
 * is better, and the loss of `trainPreferences` trains on the pairs, whose tokens are those that were sampled. Pairs of which none is
 * better are left out (TRL's OnlineDPOTrainer takes the first). Metrics, under TRL's names: `objective/scores` and
 * `objective/scores_margin` where there are rewards, `val/contain_eos_token`; and `completions/mean_length`, `frac_undecided`.
 *
 * @throws OptionError, PromptRowError before the first step; RewardError; what the judge throws
 */
export function onlinePairs<Row extends PromptRow = PromptRow>(given: OnlinePairsOptions<Row>): PreferenceSource {
  const declared = given as unknown as Parameters<typeof onlinePairsOptions.read>[0];
  const settings = onlinePairsOptions.read(declared);
  const { rewards, judge, missingEosPenalty } = settings;
  const wrong = (option: string, problem: string) => new OptionError('INVALID_OPTION', 'onlinePairs', option, problem);
  if ((rewards === undefined) === (judge === undefined)) {
    throw wrong('rewards', `give rewards or a judge, and not ${rewards ? 'both' : 'none of them'}.`);
  }
  if (judge && missingEosPenalty !== undefined) {
    throw wrong('missingEosPenalty', 'missingEosPenalty is taken off a score, and a judge gives none.');
  }
  if (rewards) weightedRewardsOf(rewards);
  let prompts: Prompts | undefined;
  return {
    name: 'online-pairs',
    settings: onlinePairsOptions.settings(declared),
    async begin({ model, adapter, seed, maxLength, ...context }) {
      const { maxCompletionLength } = settings;
      const { rows } = await collectRows('onlinePairs', settings.rows, context);
      if (rewards) refuseUnscorable('onlinePairs', rewards, rows);
      const tokens = checkPrompts(rows, { model, ...(adapter && { adapter }), maxCompletionLength: 1, ...context });
      const longest = Math.max(...tokens.map((prompt) => prompt.length));
      if (longest + maxCompletionLength > maxLength) {
        const behind = `maxCompletionLength ${maxCompletionLength} behind the longest prompt (${longest} tokens)`;
        throw wrong('maxCompletionLength', `${behind} does not fit into maxLength ${maxLength}; make it smaller.`);
      }
      prompts = { rows, tokens, order: new RowOrder(rows.length, seed) };
      return { prompts: contentHash(tokens), columns: contentHash(rows) };
    },
    async next(request) {
      if (!prompts) throw new PosttrainError('ONLINE_PAIRS', 'onlinePairs: begin() was not called before next()');
      return sampledPairs(prompts, request, settings);
    },
  };
}

/** Of the keys of a step, prompts have those from 0 up; this one is that of the order in which a judge sees completions. */
const JUDGE = 2 ** 32 - 1;

async function sampledPairs(
  prompts: Prompts,
  request: PreferenceRequest,
  settings: Settings,
): Promise<PreferenceBatch> {
  const { count, step, key, signal } = request;
  const indices = Array.from({ length: count }, (_, i) => prompts.order.at(step * count + i));
  const rollouts = await singleTurn().sample({
    ...request,
    rows: indices.map((i) => prompts.rows[i]!),
    prompts: indices.map((i) => prompts.tokens[i]!),
    ...{ completionsPerPrompt: 2, firstGroup: 0, maxBatch: settings.maxBatch, sampling: samplingOf(settings) },
  });
  const couples = indices.map((_, i) => [rollouts[2 * i]!, rollouts[2 * i + 1]!] as const);
  const { judge } = settings;
  const { preferences, metrics } = judge
    ? { preferences: await judged(judge, couples, key.child(JUDGE), signal), metrics: {} }
    : await scored(rollouts, step, settings, signal);
  const rows = couples.flatMap((couple, i) => preferredPair(couple, preferences[i]!) ?? []);
  const mean = (of: (rollout: SampledRollout) => number) => meanOf(rollouts.map(of));
  return {
    rows,
    metrics: {
      ...metrics,
      'val/contain_eos_token': mean(({ finishReason }) => (finishReason === 'length' ? 0 : 1)),
      'completions/mean_length': mean(({ completionTokens }) => completionTokens.length),
      frac_undecided: 1 - rows.length / count,
    },
  };
}

type Couple = readonly [first: SampledRollout, second: SampledRollout];

const meanOf = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** The pair of two completions. @param preference above 0: the first is better; below: the second; 0 or null: neither */
export function preferredPair(
  [first, second]: readonly [
    Pick<SampledRollout, 'promptTokens' | 'completionTokens'>,
    Pick<SampledRollout, 'promptTokens' | 'completionTokens'>,
  ],
  preference: number | null,
): TokenizedPair | undefined {
  if (preference === null || preference === 0) return undefined;
  const [chosen, rejected] = preference > 0 ? [first, second] : [second, first];
  return {
    promptTokens: first.promptTokens,
    chosenTokens: chosen.completionTokens,
    rejectedTokens: rejected.completionTokens,
  };
}

/** By how much the first of two completions is better. */
async function scored(
  rollouts: readonly SampledRollout[],
  step: number,
  { rewards, scoring = {}, missingEosPenalty: penalty = 0 }: Settings,
  signal: AbortSignal | undefined,
) {
  const all = await scoreRollouts(rollouts, { rewards: rewards!, scoring, step, signal });
  const scores = all.map(({ reward, finishReason }) =>
    reward === null ? null : reward - (finishReason === 'length' ? penalty : 0),
  );
  const preferences = Array.from({ length: scores.length / 2 }, (_, i) => {
    const [first, second] = [scores[2 * i]!, scores[2 * i + 1]!];
    return first === null || second === null ? null : first - second;
  });
  const known = scores.filter((score) => score !== null);
  const margins = preferences.flatMap((preference) => (preference ? [Math.abs(preference)] : []));
  const metrics: Metrics = {
    ...(known.length > 0 && { 'objective/scores': meanOf(known) }),
    ...(margins.length > 0 && { 'objective/scores_margin': meanOf(margins) }),
  };
  return { preferences, metrics };
}

/** 1 where the first of two completions is better, -1 where the second is. */
async function judged(
  judge: PairJudge,
  couples: readonly Couple[],
  key: Key,
  signal: AbortSignal | undefined,
): Promise<(number | null)[]> {
  const swapped = Array.from(key.uniformHost(couples.length), (x) => x < 0.5);
  const requests = couples.map(([a, b], i) => {
    const [first, second] = swapped[i] ? [b.text, a.text] : [a.text, b.text];
    const { row } = a;
    return { prompt: row.prompt, first, second, row: { ...row }, ...(signal && { signal }) };
  });
  const verdicts = await judge.compare(requests);
  if (verdicts.length !== couples.length) {
    const problem = `the judge ${judge.name} gave ${verdicts.length} verdicts for ${couples.length} pairs`;
    throw new PosttrainError('JUDGE', `onlinePairs: ${problem}`);
  }
  return verdicts.map(({ winner }, i) => {
    if (winner === null || winner === 'tie') return null;
    return (winner === 'first') === swapped[i] ? -1 : 1;
  });
}
