import { Key } from '@posttrain/core-tensor';
import { OptionError } from '@posttrain/interfaces';
import { withParameters } from '@posttrain/lm';
import {
  adapterIdentity,
  createTrainer,
  type Metrics,
  planRates,
  type RunResult,
  runSteps,
  type TrainableAdapter,
  type Trainer,
  timed,
  trainingIdentity,
} from '@posttrain/training';
import { type AnyPolicyObjective, policyObjective } from '../objective/policy-objective.js';
import type { PromptRow } from '../rewards/reward.js';
import { rolloutMetrics } from './policy-metrics.js';
import { checkPolicyOptions, type PolicyTrainingOptions, policyOptions, referenceOf } from './policy-options.js';
import { type LearningPolicy, learnFrom, noUpdate, prepareAnnotators, samplingRequest } from './policy-trainer.js';
import { sampleAndScore } from './rollouts.js';
import { rowFeedOf } from './row-feed.js';
import { type PartStates, RunParts } from './run-parts.js';

/** One of several policies: an adapter beside the model of the run. */
export interface PolicyOfSeveral<A extends TrainableAdapter = TrainableAdapter> {
  readonly adapter: A;
  readonly objective: AnyPolicyObjective;
  /** Peak learning rate. Default: that of the run. */
  readonly learningRate?: number;
}

/** Options of `trainPolicies`: those of `trainPolicy` for all of them, and the policies by name. */
export interface PoliciesTrainingOptions<Row extends PromptRow, A extends TrainableAdapter = TrainableAdapter>
  extends Omit<
    PolicyTrainingOptions<Row>,
    'adapter' | 'objective' | 'reference' | 'evaluationRows' | 'dynamicSampling' | 'maxStaleness' | 'rollouts'
  > {
  readonly policies: Readonly<Record<string, PolicyOfSeveral<A>>>;
  /** Where rollouts come from; each says which `policy` sampled it. `multiAgent(environment)` is one. */
  readonly rollouts: NonNullable<PolicyTrainingOptions<Row>['rollouts']>;
}

/** What `trainPolicies` gives. */
export interface PoliciesTrainingResult<A extends TrainableAdapter = TrainableAdapter> extends RunResult {
  /** The adapters with their trained parameters, by name. */
  readonly adapters: Readonly<Record<string, A>>;
  readonly trainers: Readonly<Record<string, Trainer>>;
}

/** One policy of a run. */
interface Member extends LearningPolicy {
  readonly name: string;
  readonly parts: RunParts;
}

/**
 * Reinforcement learning of several policies in one run: adapters beside one model that meet in the same episodes (a proposer and
 * its critic, two sides of a game). Each learns from the rollouts that it has sampled, by its own objective and its own optimizer;
 * all are in the run's checkpoints. Metrics begin with the policy's name.
 *
 * @throws OptionError; what `trainPolicy` throws
 */
export async function trainPolicies<Row extends PromptRow, A extends TrainableAdapter = TrainableAdapter>(
  given: PoliciesTrainingOptions<Row, A>,
): Promise<PoliciesTrainingResult<A>> {
  const { policies, ...shared } = given;
  const names = Object.keys(policies ?? {});
  const unsupported = ['evaluationRows', 'dynamicSampling', 'maxStaleness', 'reference'].find((name) => name in given);
  if (unsupported !== undefined || names.length === 0) {
    const option = unsupported ?? 'policies';
    const problem = unsupported
      ? `${unsupported} is of one policy: use trainPolicy.`
      : 'policies must name at least one.';
    throw new OptionError('INVALID_OPTION', 'trainPolicies', option, problem);
  }
  const declared = names.map((name) => ({ ...shared, ...policies[name]! }) as unknown as Declared);
  const all: Member[] = [];
  for (const [i, own] of declared.entries()) {
    const options = policyOptions.read(own);
    checkPolicyOptions(options);
    all.push({
      name: names[i]!,
      options,
      trainer: await createTrainer('trainPolicies', options),
      objective: policyObjective(options.objective, { temperature: options.temperature }),
      learningRateAt: planRates('trainPolicies', options, options.steps * options.iterationsPerBatch),
      // What is shared has its state once, with the first.
      parts: new RunParts(i === 0 ? options : { objective: options.objective, rows: [] }),
    });
  }
  const critics = all.flatMap(({ name, parts }) =>
    Object.entries(parts.trainers).map((one) => [name, ...one] as const),
  );
  const isTwice = (critic: string) => critics.filter(([, one]) => one === critic).length > 1;
  const [first, ...others] = all as [Member, ...Member[]];
  const feed = await rowFeedOf(first.options);
  const state: PoliciesState = { cursor: 0, numTokens: 0 };
  const trainers = Object.fromEntries(all.map(({ name, trainer }) => [name, trainer]));
  const otherTrainers = Object.fromEntries(others.map(({ name, trainer }) => [name, trainer]));
  const release = () => {
    for (const { parts } of all) parts.release();
  };
  try {
    for (const { parts } of all) parts.claim();
  } catch (error) {
    release();
    throw error;
  }
  const result = await runSteps(
    {
      ...{ stage: 'trainPolicies', trainer: first.trainer, model: first.options.model, adapter: first.options.adapter },
      ...{ steps: first.options.steps, state },
      // Two policies may have a critic each: a name that both have begins with the policy's.
      others: Object.assign(
        otherTrainers,
        ...critics.map(([policy, name, trainer]) => ({ [isTwice(name) ? `${policy}-${name}` : name]: trainer })),
      ),
      async settings() {
        const settings = all.map(async ({ name, options }, i) => {
          const own = trainingIdentity('trainPolicies', policyOptions.settings(declared[i]!), options);
          const reference = await adapterIdentity('reference', referenceOf(options));
          return Object.entries({ ...own, ...reference }).map(([key, value]) => [`${name}.${key}`, value] as const);
        });
        return { ...Object.fromEntries((await Promise.all(settings)).flat()), ...feed.identity };
      },
      async begin(firstStep) {
        for (const member of all) await prepareAnnotators(member, firstStep, first.options.signal);
        for (const { name, parts } of all) {
          parts.begin(firstStep);
          if (firstStep > 0) await parts.load(state.parts?.[name]);
        }
      },
      step: timed((step, signal) => policiesStep(all, feed, state, step, signal)),
    },
    first.options,
  ).finally(release);
  if (!result.stopped && all.every(({ trainer }) => trainer.step === 0)) {
    throw noUpdate('trainPolicies', first.options.steps, state.why);
  }
  const adapters = names.map((name) => [name, withParameters(policies[name]!.adapter, trainers[name]!.parameters)]);
  return { adapters: Object.fromEntries(adapters), trainers, ...result };
}

type Declared = Parameters<typeof policyOptions.read>[0];

interface PoliciesState {
  cursor: number;
  numTokens: number;
  why?: string;
  parts?: Readonly<Record<string, PartStates>>;
}

/** One step: all policies play, then each learns from what it said. */
async function policiesStep(
  all: readonly Member[],
  feed: Awaited<ReturnType<typeof rowFeedOf>>,
  state: PoliciesState,
  step: number,
  signal: AbortSignal | undefined,
): Promise<Metrics> {
  const [first] = all as [Member];
  const { promptsPerStep: count, completionsPerPrompt, seed } = first.options;
  const key = Key.fromSeed(seed).child(step);
  const { rows, prompts } = await feed.take(state.cursor, { count, step, key: key.child(0) });
  state.cursor += count;
  const policies = Object.fromEntries(all.map(({ name, trainer }) => [name, trainer.adapter]));
  const request = samplingRequest(first, step, key.child(0), signal);
  const rollouts = await sampleAndScore({ ...request, policies, rows, prompts, completionsPerPrompt, firstGroup: 0 });
  const stray = rollouts.find(({ policy }) => policy === undefined || !(policy in policies));
  if (stray) {
    const problem = `the source ${first.options.rollouts?.name} gave a rollout of the policy ${stray.policy}, which the run has not.`;
    throw new OptionError('INVALID_OPTION', 'trainPolicies', 'rollouts', problem);
  }
  state.numTokens += rollouts.reduce((n, one) => n + one.promptTokens.length + one.completionTokens.length, 0);
  signal?.throwIfAborted();
  const metrics: Record<string, number> = { num_tokens: state.numTokens };
  for (const member of all) {
    const own = rollouts.filter(({ policy }) => policy === member.name);
    if (own.length === 0) continue;
    // What has begun to change weights comes to its end.
    const learnt = await learnFrom(member, step, own, undefined);
    for (const [name, value] of Object.entries({ ...learnt.metrics, ...rolloutMetrics(own) })) {
      metrics[`${member.name}/${name}`] = value;
    }
    if (learnt.skipped !== undefined) state.why = learnt.skipped;
    if (learnt.skipped !== undefined) metrics[`${member.name}/skipped`] = 1;
    await first.parts.feedback(learnt.rollouts, { step, advantages: learnt.advantages });
  }
  const states = all.map(async ({ name, parts }) => [name, (await parts.states()) ?? {}] as const);
  state.parts = Object.fromEntries(await Promise.all(states));
  return metrics;
}
