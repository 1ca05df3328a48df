import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Limits } from '../job.js';

/** A control group of one job: what its processes use together. */
export interface ControlGroup {
  /** Puts a process, and what it will start, under the limits; false where this process may not. */
  add(pid: number): boolean;
  /** Processor time of all of them, and whether the kernel has killed one for memory. */
  usage(): { readonly cpuMs?: number; readonly outOfMemory: boolean };
  /** Takes it away; its processes have ended. */
  remove(): Promise<void>;
}

/** Processes of bwrap itself. */
const OWN_PROCESSES = 2;
const ROOT = '/sys/fs/cgroup';
const REMOVE_TRIES = 20;

/**
 * A control group with the limits of a job, of version 2 or 1; undefined where this process may not make one. It counts what
 * limits of a process do not: all processes together, files in memory, and what the kernel holds for them (a million empty files).
 */
export function makeControlGroup({ fileBytes, memoryBytes, processes }: Limits): ControlGroup | undefined {
  const name = `posttrain-sandbox-${randomUUID()}`;
  const memory = memoryBytes + fileBytes;
  const pids = processes + OWN_PROCESSES;
  const own = ownGroups();
  const unified = own.get('');
  if (unified !== undefined && existsSync(join(ROOT, 'cgroup.controllers'))) {
    // A group with processes in it shares nothing out: ours must stand beside our own, or at the root.
    for (const parent of new Set([dirname(unified), unified, '/'])) {
      const limits = { 'memory.max': memory, 'memory.swap.max': 0, 'memory.oom.group': 1, 'pids.max': pids };
      const folder = make(join(ROOT, parent, name), limits, ['memory.max', 'pids.max']);
      if (folder) return group([folder], cpuOfUnified(folder), join(folder, 'memory.events'));
    }
    return undefined;
  }
  const folder = (controller: string, limits: Readonly<Record<string, number>>) =>
    own.has(controller)
      ? make(join(ROOT, controller, own.get(controller)!, name), limits, Object.keys(limits))
      : undefined;
  const byMemory = folder('memory', { 'memory.limit_in_bytes': memory });
  const byPids = folder('pids', { 'pids.max': pids });
  const byTime = folder('cpuacct', {});
  const folders = [byMemory, byPids, byTime].filter((path) => path !== undefined);
  if (byMemory && byPids) {
    return group(
      folders,
      byTime === undefined ? undefined : cpuOfAccounting(byTime),
      join(byMemory, 'memory.oom_control'),
    );
  }
  for (const path of folders) remove(path);
  return undefined;
}

/** Our own groups by controller, from `/proc/self/cgroup`; the unified one under the empty name. */
function ownGroups(): Map<string, string> {
  try {
    const lines = readFileSync('/proc/self/cgroup', 'utf8').trim().split('\n');
    return new Map(
      lines.flatMap((line) => {
        const [, controllers = '', path = '/'] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
        return controllers.split(',').map((controller): [string, string] => [controller, path]);
      }),
    );
  } catch {
    return new Map();
  }
}

/** A folder with its limits; undefined, and nothing left, where one of those that it `needs` cannot be set. */
function make(folder: string, limits: Readonly<Record<string, number>>, needs: readonly string[]): string | undefined {
  try {
    mkdirSync(folder);
  } catch {
    return undefined;
  }
  for (const [file, value] of Object.entries(limits)) {
    try {
      writeFileSync(join(folder, file), `${value}`, { flag: 'r+' });
    } catch {
      if (!needs.includes(file)) continue;
      remove(folder);
      return undefined;
    }
  }
  return folder;
}

function group(folders: readonly string[], cpuMs: (() => number) | undefined, events: string): ControlGroup {
  return {
    add(pid) {
      try {
        for (const folder of folders) writeFileSync(join(folder, 'cgroup.procs'), `${pid}`);
        return true;
      } catch {
        return false;
      }
    },
    usage() {
      const killed = /^oom_kill (\d+)$/m.exec(readFileSync(events, 'utf8'))?.[1];
      return { ...(cpuMs && { cpuMs: cpuMs() }), outOfMemory: Number(killed ?? 0) > 0 };
    },
    async remove() {
      // The kernel lets go of the last process a moment after its end.
      for (let i = 0; i < REMOVE_TRIES && !folders.map(remove).every(Boolean); i++) {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
  };
}

function remove(folder: string): boolean {
  try {
    rmdirSync(folder);
    return true;
  } catch {
    return !existsSync(folder);
  }
}

const cpuOfUnified = (folder: string) => () =>
  Number(/^usage_usec (\d+)$/m.exec(readFileSync(join(folder, 'cpu.stat'), 'utf8'))?.[1] ?? 0) / 1000;

const cpuOfAccounting = (folder: string) => () => Number(readFileSync(join(folder, 'cpuacct.usage'), 'utf8')) / 1e6;
