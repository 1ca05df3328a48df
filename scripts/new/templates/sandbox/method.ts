import { custom, type Given, integer, options, type Sandbox } from '@posttrain/interfaces';

const isSandbox = (value: unknown): boolean => typeof (value as Partial<Sandbox> | null)?.run === 'function';

const myMethodOptions = options('myMethod', {
  /** Where programs run: what isolates them. */
  inside: custom<Sandbox>()('a Sandbox', isSandbox, { settings: ({ name }) => name }),
  /** Milliseconds that no program may exceed, whatever its job says. Default 60,000. */
  mostWallMs: integer({ default: 60_000, min: 1 }),
});
/** Options of `myMethod`. */
export type MyMethodOptions = Given<typeof myMethodOptions>;

/**
 * A sandbox in which no job runs for longer than `mostWallMs` (arXiv 0000.00000). A way to isolate of your own runs `run(job)` itself,
 * with limits on everything, and lets nothing run before its `probe` has attacked it from inside and failed.
 *
 * @throws OptionError
 */
export function myMethod(given: MyMethodOptions): Sandbox {
  const { inside, mostWallMs } = myMethodOptions.read(given);
  return {
    name: `my-method of ${inside.name}`,
    languages: inside.languages,
    commands: inside.commands,
    probe: () => inside.probe(),
    run(job) {
      const { wallMs = mostWallMs, ...limits } = job.limits ?? {};
      return inside.run({ ...job, limits: { ...limits, wallMs: Math.min(wallMs, mostWallMs) } });
    },
  };
}
