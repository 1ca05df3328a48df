import { setMaxListeners } from 'node:events';
import {
  custom,
  type Given,
  integer,
  isPosttrainError,
  number,
  oneOf,
  options,
  type SamplerServer,
  showValue,
  type TokenSample,
  type TokenSampleRequest,
  text,
} from '@posttrain/interfaces';
import { linkedController } from '@posttrain/interfaces/concurrency';
import { type CausalLM, completionDecoder, contextOf } from '@posttrain/lm';
import type { PromptRow } from '../../rewards/reward.js';
import type { SampledRollout } from '../../rollout.js';
import { policyVersion } from '../policy-version.js';
import { type RolloutRequest, type RolloutSource, type SamplingRequest, seedOf } from '../rollout-source.js';
import { laterSeed, type OpenCompletion, type OpenGroup, type Segment } from '../segments.js';
import { Fleet, FleetError, hashOf, type Member } from './fleet.js';
import type { OnFleetEvent } from './fleet-event.js';
import { type PolicyVersion, PolicyVersions } from './policy-versions.js';

const isServer = (value: unknown): boolean =>
  ['sample', 'score', 'probe', 'loadAdapter'].every(
    (method) => typeof (value as Record<string, unknown> | null)?.[method] === 'function',
  );

const fleetOptions = options('fleetRollouts', {
  /** `vllmServer({ … })`, `sglangServer({ … })`, or objects of one's own. How many there are, and where, does not change what is sampled. */
  servers: custom<readonly SamplerServer[]>()(
    'a list of servers, such as [vllmServer({ baseURL })]',
    (value) => Array.isArray(value) && value.length > 0 && value.every(isServer),
    { decisive: false },
  ),
  /** Where versions of the adapter are written, for servers to read; they are deleted when they are not used any more. */
  folder: text({ decisive: false }),
  /** The same folder, as servers call it. Default: as here. */
  serverFolder: text({ optional: true, decisive: false }),
  /** What versions are called at servers, before a random part and the step: another fleet's are told apart. Default `policy`. */
  name: text({ default: 'policy', decisive: false }),
  /** Steps from one version to the next: what is sampled is of a policy at most `syncEvery` - 1 steps old. Default 1. */
  syncEvery: integer({ default: 1, min: 1 }),
  /** Groups in flight at a server; further ones wait here. Default 8. */
  concurrency: integer({ default: 8, min: 1, decisive: false }),
  /**
   * Whether servers are paused while they load a version, and how. Names are never used again, so `never` is safe: what is in flight ends
   * with the version it began with. Default `never`.
   */
  pause: oneOf(['never', 'wait', 'keep'], { default: 'never', decisive: false }),
  /**
   * Identity check: the run fails where a server's log-probabilities of probe tokens, of its base with a version's adapter, differ from the
   * trainer's by more than this, in the mean over tokens, in nats. Default 0.1, which a server in bfloat16 keeps and another model does not.
   */
  maxGap: number({ default: 0.1, min: 0, decisive: false }),
  /** Tokens that servers are compared by, from the first prompts; two of them at least. Default 64. */
  probeTokens: integer({ default: 64, min: 2, decisive: false }),
  /** Milliseconds for which no server may answer before the run fails. Default 60 000. */
  patienceMs: integer({ default: 60_000, min: 0, decisive: false }),
  /** Milliseconds between two looks at a server that is lost. Default 2000. */
  recheckMs: integer({ default: 2000, min: 1, decisive: false }),
  /** Told of what happens: gaps, versions, groups with their times, servers that are lost and come back. Default: nobody. */
  onEvent: custom<OnFleetEvent>()('a function of an event', (value) => typeof value === 'function', {
    optional: true,
    decisive: false,
  }),
});
/** Options of `fleetRollouts`. */
export type FleetRolloutsOptions = Given<typeof fleetOptions>;

/**
 * Rollouts of somebody's fleet: any number of vLLM, SGLang or our own servers, reached over HTTP, with token ids and log-probabilities in
 * and out. One completion of the prompt each, as `singleTurn`, with the same seeds: servers that compute as the trainer does give the
 * rollouts that it would.
 *
 * At each version of the policy (`syncEvery`) the adapter is written as a PEFT folder with a name of its own, loaded at a server before that
 * is asked, and unloaded when nothing samples from it. A group stays on one server. A server that is lost loses what it is at, which is
 * asked of another; it comes back by itself. `policyVersion` of each token is the step of the policy that it is of.
 *
 * What is sampled elsewhere is not quite the policy, so a run must recompute log π_old (`oldLogProbs: 'recomputed'`), and may correct by
 * `truncatedImportance`. Only adapters are brought to servers: a run that trains all weights is refused at its second step, by the
 * comparison. It samples ahead where the run has `maxStaleness`.
 *
 * @throws OptionError; FleetError where servers lack what is needed, compute something else, or none answers; what a server says of a request
 *   that is wrong
 */
export function fleetRollouts<Row extends PromptRow = PromptRow>(given: FleetRolloutsOptions): RolloutSource<Row> {
  const settings = fleetOptions.read(given);
  const { folder, serverFolder = folder, syncEvery, onEvent = () => {} } = settings;
  const fleet = new Fleet({ ...settings, onEvent });
  const versions = new PolicyVersions(fleet, { ...settings, serverFolder, onEvent });
  let last: PolicyVersion | undefined;

  /** The version that a step samples from: brought now unless the last one is still that. */
  const versionFor = async (
    request: SamplingRequest,
    prompts: readonly (readonly number[])[],
    signal: AbortSignal,
  ): Promise<PolicyVersion> => {
    const { model, adapter, policyStep: step = request.step } = request;
    // Dynamic sampling and evaluations ask several times in a step.
    const wanted = step - (step % syncEvery);
    if (last === undefined || last.step < wanted || last.step > step) {
      last = await versions.write({ model, adapter, step }, probeOf(prompts, model, settings.probeTokens));
      last.uses++;
      const version = last;
      // One that cannot be reached now is asked again when there is something to sample.
      await fleet.each((member) => versions.load(member, version, signal), signal).finally(() => version.uses--);
      await versions.drop(step, signal);
    }
    return last;
  };

  /** Work on each of these prompts, with the version of the step: it runs on when this resolves. */
  const begin = async <T>(
    request: SamplingRequest,
    prompts: readonly (readonly number[])[],
    work: (i: number, version: PolicyVersion, signal: AbortSignal) => Promise<T>,
  ): Promise<() => Promise<readonly T[]>> => {
    request.signal?.throwIfAborted();
    const { controller, dispose } = linkedController([request.signal]);
    const { signal } = controller;
    // One of each group that goes on.
    setMaxListeners(0, signal);
    const version = await versionFor(request, prompts, signal);
    version.uses++;
    const working = Promise.all(prompts.map((_, i) => work(i, version, signal))).finally(() => {
      version.uses--;
      // Of several groups the others are of no use to anybody.
      controller.abort(new FleetError('another group has failed'));
      dispose();
    });
    working.catch(() => {});
    return () => working;
  };

  /** What `ask` gets of a server for a group, checked: whole there, or all of it asked of another one. */
  const groupOf = (
    { prompt, group, step }: { readonly prompt: readonly number[]; readonly group: number; readonly step: number },
    version: PolicyVersion,
    signal: AbortSignal,
    ask: (member: Member) => Promise<readonly TokenSample[]>,
  ): Promise<readonly TokenSample[]> =>
    fleet.run(
      hashOf(prompt),
      async (member) => {
        const begun = performance.now();
        const samples = await atVersion(member, version, () => ask(member), signal);
        const tokens = samples.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0);
        const times = { begun, ended: performance.now() };
        onEvent({ kind: 'sampled', server: member.server.name, step, version: version.step, group, tokens, ...times });
        return samples;
      },
      signal,
    );

  const sampleAhead = async (request: RolloutRequest<Row>): Promise<() => Promise<readonly SampledRollout[]>> => {
    const { rows, prompts, completionsPerPrompt: n, firstGroup, step, key, sampling, model } = request;
    const context = contextOf(model.config, request.adapter);
    const sampled = await begin(request, prompts, async (i, version, signal) => {
      const [prompt, row, group] = [prompts[i]!, rows[i]!, firstGroup + i];
      // vLLM refuses a request for more than the context has room for, where others end there.
      const most = sampling.maxTokens && { maxTokens: Math.min(sampling.maxTokens, context - prompt.length) };
      const settings = { ...sampling, ...most, n, seed: seedOf(key.child(i)) };
      const asked = { ...settings, prompt, adapter: version.adapter, signal };
      const samples = await groupOf({ prompt, group, step }, version, signal, (member) =>
        checkedSamples(member, asked, version),
      );
      return samples.map(
        ({ tokenIds, logProbs, text: said, finishReason }): SampledRollout =>
          policyVersion.on(
            {
              ...{ group, row, promptTokens: prompt, text: said, finishReason },
              ...{ completionTokens: tokenIds, samplerLogProbs: logProbs },
            },
            tokenIds.map(() => version.step),
          ),
      );
    });
    return async () => (await sampled()).flat();
  };

  const goOn = async (
    request: SamplingRequest,
    groups: readonly OpenGroup[],
  ): Promise<readonly (readonly Segment[])[]> => {
    const { model, sampling, step } = request;
    const refused = NOT_OVER_SEGMENTS.find((name) => sampling[name] !== undefined);
    if (refused !== undefined) {
      throw new FleetError(
        `${refused} looks at the whole of a completion, of which a server has a segment at a time; leave it out, or the fleet out of partialRollouts`,
      );
    }
    const prompts = groups.map(({ prompt }) => prompt);
    const gone = await begin(request, prompts, async (i, version, signal) => {
      const { prompt, group, continuesText, completions } = groups[i]!;
      const asked = completions.map((one) => segmentRequest(prompt, one, sampling));
      // Each has a start of its own; one that cannot be had lets go of the others.
      const samples = await groupOf({ prompt, group, step }, version, signal, async (member) => {
        const { controller, dispose } = linkedController([signal]);
        const how = { adapter: version.adapter, signal: controller.signal };
        try {
          return (await Promise.all(asked.map((one) => checkedSamples(member, { ...one, ...how }, version)))).flat();
        } catch (error) {
          controller.abort(error);
          throw error;
        } finally {
          dispose();
        }
      });
      return completions.map((one, k): Segment => {
        const { tokenIds, logProbs, finishReason } = samples[k]!;
        const whole = [...one.tokenIds, ...tokenIds];
        return {
          ...{ tokenIds: whole, logProbs: [...one.logProbs, ...logProbs], finishReason, version: version.step },
          text: textOf(model, { tokenIds: prompt, continuesText }, whole),
        };
      });
    });
    return gone();
  };

  /** A server that has been started anew has no adapters, and says 404: it loads this one again, once. */
  const atVersion = async <T>(
    member: Member,
    version: PolicyVersion,
    work: () => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> => {
    await versions.load(member, version, signal);
    try {
      return await work();
    } catch (error) {
      const isUnknown = isPosttrainError(error) && (error as { readonly status?: number }).status === 404;
      if (!isUnknown || version.adapter === undefined) throw error;
      versions.forget(member);
      await versions.load(member, version, signal);
      return work();
    }
  };

  return {
    name: 'fleet',
    settings: fleetOptions.settings(given),
    isOffPolicy: true,
    gives: [policyVersion.need],
    sample: async (request) => (await sampleAhead(request))(),
    sampleAhead,
    goOn,
  };
}

/** Settings that servers would apply to what they draw alone, and not to what there was before. */
const NOT_OVER_SEGMENTS = ['stop', 'presencePenalty', 'frequencyPenalty', 'minNewTokens', 'constraint'] as const;

/** What a server is asked for of a completion: from its first token on, or behind those that there are. */
function segmentRequest(
  prompt: readonly number[],
  { seed, tokenIds, maxTokens }: OpenCompletion,
  sampling: SamplingRequest['sampling'],
): TokenSampleRequest {
  const tokens = tokenIds.length;
  return {
    ...{ ...sampling, n: 1, prompt: [...prompt, ...tokenIds], maxTokens: maxTokens - tokens },
    ...(tokens > 0 ? { seed: laterSeed(seed, tokens), begun: { tokens, seed } } : { seed }),
  };
}

/** The text of a completion of several segments: what each server has made of its own would not join where a character is of two. */
function textOf(
  { tokenizer, endTokens }: CausalLM,
  prompt: { readonly tokenIds: readonly number[]; readonly continuesText: boolean },
  tokens: readonly number[],
): string {
  const decoder = completionDecoder(tokenizer, { prompt }, prompt.tokenIds);
  return tokens.map((id) => (endTokens.has(id) ? '' : decoder.push(id))).join('') + decoder.flush();
}

/** How often a group is asked for again that somebody's pause has cut off. */
const MOST_CUTS = 3;

/** `wholeSamples` of these weights. */
async function checkedSamples(
  member: Member,
  asked: TokenSampleRequest,
  version: PolicyVersion,
): Promise<readonly TokenSample[]> {
  const samples = await wholeSamples(member, asked);
  checkSamples(member, samples, version, asked.maxTokens);
  return samples;
}

/** A group whose completions have come to their ends. What is cut off is asked for again, with the same seeds. */
async function wholeSamples({ server }: Member, asked: TokenSampleRequest): Promise<readonly TokenSample[]> {
  for (let cuts = 0; ; cuts++) {
    const samples = await server.sample(asked);
    asked.signal?.throwIfAborted();
    const given = Array.isArray(samples) ? samples.length : showValue(samples);
    if (given !== asked.n)
      throw new FleetError(`${server.name} gave ${given} completions where ${asked.n} were asked for`);
    const odd = samples.find((one) => !Array.isArray(one?.tokenIds) || typeof one.text !== 'string');
    if (odd !== undefined || samples.includes(odd as never))
      throw new FleetError(`${server.name} gave ${showValue(odd)}; a completion has tokenIds, logProbs and a text`);
    if (!samples.some(({ finishReason }) => finishReason === 'abort')) return samples;
    if (cuts === MOST_CUTS) {
      throw new FleetError(
        `${server.name} was paused by somebody ${cuts + 1} times while a group was sampled; who else uses it?`,
      );
    }
  }
}

/** @throws FleetError where a group is not whole, or of other weights */
function checkSamples(
  { server }: Member,
  samples: readonly TokenSample[],
  version: PolicyVersion,
  most = Number.POSITIVE_INFINITY,
): void {
  for (const { tokenIds, weightVersion, finishReason } of samples) {
    if (tokenIds.length === 0) throw new FleetError(`${server.name} gave a completion without tokens`);
    if (tokenIds.length > most)
      throw new FleetError(`${server.name} gave a completion of ${tokenIds.length} tokens where ${most} were allowed`);
    if (finishReason !== 'stop' && finishReason !== 'length')
      throw new FleetError(
        `${server.name} gave the finishReason ${showValue(finishReason)}; it must be stop or length`,
      );
    // Servers that say nothing of adapters' weights call all of them as their base.
    if (
      weightVersion !== undefined &&
      version.adapter !== undefined &&
      weightVersion !== version.adapter &&
      /-v\d+$/.test(weightVersion)
    ) {
      throw new FleetError(
        `${server.name} sampled from "${weightVersion}", and "${version.adapter}" was asked for: it keeps old adapters`,
      );
    }
  }
}

/** The beginning of the prompts, as one sequence. */
function probeOf(prompts: readonly (readonly number[])[], model: CausalLM, most: number): number[] {
  const length = Math.min(most, contextOf(model.config, undefined) - 1);
  const tokens: number[] = [];
  for (let i = 0; tokens.length < Math.max(2, length) && i < most; i++) tokens.push(...prompts[i % prompts.length]!);
  return tokens.slice(0, Math.max(2, length));
}
