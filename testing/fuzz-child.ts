// The process in which `fuzz` runs mutants. Its one argument is a FuzzOptions as JSON.
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { isPosttrainError } from '../packages/interfaces/src/index.js';
import type { FuzzMessage, FuzzModule, FuzzOptions } from './fuzz.js';
import { mutate } from './mutate.js';

type Spec = Omit<FuzzOptions, 'module'> & { module: string; folder: string; from: number };
const spec = JSON.parse(process.argv[2]!) as Spec;
const { from, count, kind, seed = 1, maxMemoryMiB = 1500 } = spec;
const send = (message: FuzzMessage) => new Promise<void>((resolve) => process.send!(message, () => resolve()));

let rejected: string | undefined;
process.on('unhandledRejection', (reason) => {
  rejected = String((reason as Error)?.stack ?? reason).slice(0, 600);
});

const { fuzzTargets } = (await import(spec.module)) as FuzzModule;
const target = fuzzTargets[spec.target];
if (!target) throw new Error(`${spec.module} has no fuzz target "${spec.target}".`);
const corpus = await target.corpus();
const turn = () => new Promise((resolve) => setImmediate(resolve));

await send({ type: 'ready' });
const before = process.resourceUsage().maxRSS / 1024;
for (let index = from; index < from + count; index++) {
  const mutant = mutate(corpus[index % corpus.length]!, kind, seed, index, spec);
  const folder = join(spec.folder, String(index));
  mkdirSync(folder);
  await send({ type: 'begin', index });
  let outcome: FuzzMessage;
  try {
    await target.run(mutant, { folder, index });
    outcome = { type: 'end', outcome: 'accepted' };
  } catch (error) {
    outcome = isPosttrainError(error)
      ? { type: 'end', outcome: 'refused' }
      : { type: 'fault', kind: 'raw error', message: String((error as Error)?.stack ?? error).slice(0, 600) };
  }
  await turn();
  await turn();
  if (rejected !== undefined) outcome = { type: 'fault', kind: 'unhandled rejection', message: rejected };
  rejected = undefined;
  const memory = process.resourceUsage().maxRSS / 1024;
  const overMemory = memory > before + maxMemoryMiB;
  if (overMemory && outcome.type === 'end') {
    outcome = { type: 'fault', kind: 'memory', message: `the process had ${Math.round(memory)} MiB` };
  }
  await send(outcome);
  rmSync(folder, { recursive: true, force: true });
  // The highest mark never falls again, so that the next mutants need a new process.
  if (overMemory) process.exit(1);
}
process.exit(0);
