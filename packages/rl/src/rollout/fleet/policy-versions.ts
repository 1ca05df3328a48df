import { randomBytes } from 'node:crypto';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Adapter, type CausalLM, NO_ADAPTER, sequenceLogProbs } from '@posttrain/lm';
import type { TrainableAdapter } from '@posttrain/training';
import { type Fleet, FleetError, type Member } from './fleet.js';
import type { OnFleetEvent } from './fleet-event.js';

interface VersionSettings {
  readonly folder: string;
  /** The same folder, as servers call it. */
  readonly serverFolder: string;
  readonly name: string;
  readonly pause: 'never' | 'wait' | 'keep';
  readonly maxGap: number;
  readonly onEvent: OnFleetEvent;
}

/** The policy as it was at a step: what servers sample from. */
export interface PolicyVersion {
  readonly step: number;
  /** What servers call it; undefined: their base. */
  readonly adapter: string | undefined;
  /** Where it is, in the folder. */
  readonly path: string;
  /** What the trainer says of `tokens`, from which a server may differ by rounding. */
  readonly tokens: readonly number[];
  readonly logProbs: ArrayLike<number>;
  /** Samplings that are not over. */
  uses: number;
}

/**
 * Versioned adapters (the life cycle that TRL's asynchronous GRPO and vLLM's documentation advise): each version of the policy is a PEFT
 * folder of its own with a name of its own, written beside and renamed, never changed; servers load it before they sample from it, and unload
 * it when nobody does any more. What a server then says of probe tokens is compared with what the trainer says.
 */
export class PolicyVersions {
  readonly #fleet: Fleet;
  readonly #settings: VersionSettings;
  /** Names of two runs in one fleet never meet, nor those of a run and its resumption. */
  readonly #run = randomBytes(4).toString('hex');
  readonly #versions = new Map<number, PolicyVersion>();
  /** What servers are taken to have as their base. */
  #base: CausalLM['weights'] | undefined;
  /** Of a member in one of its lives: what it has loaded, or is loading. */
  readonly #loaded = new Map<Member, { readonly life: number; readonly versions: Map<number, Promise<void>> }>();

  constructor(fleet: Fleet, settings: VersionSettings) {
    this.#fleet = fleet;
    this.#settings = settings;
  }

  /** The policy as a version, kept in numbers that no update changes. `tokens`: what servers are compared by. */
  async write(
    policy: { readonly model: CausalLM; readonly adapter: Adapter; readonly step: number },
    tokens: readonly number[],
  ) {
    const { model, adapter, step } = policy;
    const known = this.#versions.get(step);
    if (known) return known;
    this.#base ??= model.weights;
    if (Object.entries(this.#base).some(([name, x]) => model.weights[name] !== x)) {
      throw new FleetError('the weights of the base have changed, which are not brought to servers; train an adapter');
    }
    const [scored] = await sequenceLogProbs(model, [tokens], { adapter });
    const parts = { step, tokens, logProbs: Float64Array.from(scored!.logProbs), uses: 0 };
    const version = { ...parts, ...(await this.#save(adapter, step)) };
    this.#versions.set(step, version);
    return version;
  }

  /** Sees to it that a server has a version. @throws FleetError where it cannot, or computes something else */
  async load(member: Member, version: PolicyVersion, signal: AbortSignal): Promise<void> {
    let known = this.#loaded.get(member);
    if (known?.life !== member.lives) {
      known = { life: member.lives, versions: new Map() };
      this.#loaded.set(member, known);
    }
    const { versions } = known;
    let loading = versions.get(version.step);
    if (!loading) {
      loading = this.#load(member, version, signal);
      versions.set(version.step, loading);
      // Another attempt begins anew.
      loading.catch(() => versions.delete(version.step));
    }
    await loading;
  }

  /** A server has said that it has no such adapter: it is another process than it was. */
  forget(member: Member): void {
    this.#loaded.delete(member);
    member.facts = undefined;
  }

  /** Unloads and deletes versions before a step that nothing samples from. */
  async drop(before: number, signal: AbortSignal): Promise<void> {
    for (const version of [...this.#versions.values()]) {
      if (version.step >= before || version.uses > 0) continue;
      this.#versions.delete(version.step);
      await this.#fleet.each(async (member) => {
        const known = this.#loaded.get(member);
        if (!known?.versions.delete(version.step) || known.life !== member.lives || version.adapter === undefined)
          return;
        await member.server.unloadAdapter(version.adapter, signal);
        this.#settings.onEvent({ kind: 'unloaded', server: member.server.name, version: version.step });
      }, signal);
      if (version.adapter !== undefined)
        await rm(join(this.#settings.folder, version.path), { recursive: true, force: true });
    }
  }

  async #save(adapter: Adapter, step: number): Promise<Pick<PolicyVersion, 'adapter' | 'path'>> {
    if (adapter === NO_ADAPTER) return { adapter: undefined, path: '' };
    const { save, parameters } = adapter as Partial<TrainableAdapter>;
    if (!save || !parameters) {
      throw new FleetError(`the adapter "${adapter.name}" cannot be saved; take one of @posttrain/peft`);
    }
    const { folder, name } = this.#settings;
    const path = `${name}-${this.#run}-v${step}`;
    const final = join(folder, path);
    // A server, or what copies the folder to it, never sees half of it.
    await save(`${final}.tmp`, parameters);
    await rename(`${final}.tmp`, final);
    return { adapter: path, path };
  }

  async #load(member: Member, version: PolicyVersion, signal: AbortSignal): Promise<void> {
    const { server } = member;
    const { onEvent, pause, serverFolder } = this.#settings;
    const { adapter, path, step } = version;
    if (!member.facts) {
      member.facts = await server.probe(signal);
      const { kind, model, hasAdapters, hasPause } = member.facts;
      onEvent({ kind: 'probed', server: server.name, is: kind, model });
      if (adapter !== undefined && !hasAdapters) {
        throw new FleetError(`${server.name} (${kind}) loads no adapters while it runs; start it with that allowed`);
      }
      if (pause !== 'never' && (!hasPause || !server.pause)) {
        throw new FleetError(
          `${server.name} (${kind}) cannot be paused; start it with that allowed, or leave pause out`,
        );
      }
    }
    if (adapter !== undefined) {
      if (pause !== 'never') await server.pause!(pause, signal);
      try {
        await server.loadAdapter(adapter, `${serverFolder}/${path}`, { version: adapter, signal });
      } finally {
        if (pause !== 'never') await server.resume!(signal);
      }
      onEvent({ kind: 'loaded', server: server.name, version: step });
    }
    await this.#compare(member, version, signal);
  }

  /** The base's identity and the version's, by what the server says of the same tokens. */
  async #compare(
    { server }: Member,
    { adapter, tokens, logProbs, step }: PolicyVersion,
    signal: AbortSignal,
  ): Promise<void> {
    const { maxGap, onEvent } = this.#settings;
    const said = await server.score(tokens, { adapter, signal });
    const gaps = said.map((x, t) => Math.abs(x - logProbs[t]!));
    const [meanGap, largest] = [gaps.reduce((a, b) => a + b, 0) / gaps.length, Math.max(...gaps)];
    const version = adapter === undefined ? undefined : step;
    onEvent({ kind: 'compared', server: server.name, version, tokens: gaps.length, meanGap, maxGap: largest });
    if (meanGap <= maxGap) return;
    const what =
      adapter === undefined ? 'its base is another model' : `its base or its adapter "${adapter}" is another`;
    throw new FleetError(
      `${server.name} differs by ${meanGap.toPrecision(3)} a token from the trainer in log-probability (largest ${largest.toPrecision(3)} of ${gaps.length}), above maxGap, ${maxGap}: ${what}`,
    );
  }
}
