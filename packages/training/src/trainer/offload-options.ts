import { type Given, integer, OptionError, oneOf, options, type Read, text } from '@posttrain/interfaces';

const offloadOptions = options('offloadOptimizer', {
  /** `nvme`: in a file. `cpu`: in the host's memory, which is of use where the engine has one of its own. */
  device: oneOf(['cpu', 'nvme'], {}),
  /** Of `nvme`: the folder that the file is in, which nobody else sees and which ends with the process. On a disk, not in memory (tmpfs). */
  nvmePath: text({ optional: true }),
  /** Most elements of the parameters that are updated together, whose states are in memory at the same time; or one parameter. Default 2²⁴. */
  subGroupSize: integer({ default: 2 ** 24, min: 1 }),
});
/** Where the states of an optimizer are between updates, by the names of DeepSpeed's `offload_optimizer` (ZeRO-Offload, arXiv 2101.06840). */
export type OffloadOptimizerOptions = Given<typeof offloadOptions>;
/** The same with their defaults. */
export type OffloadOptimizerSettings = Read<typeof offloadOptions>;

/** @throws OptionError */
export function readOffloadOptions(given: OffloadOptimizerOptions): OffloadOptimizerSettings {
  const settings = offloadOptions.read(given);
  const { device, nvmePath } = settings;
  if ((device === 'nvme') === (nvmePath !== undefined && nvmePath !== '')) return settings;
  const problem =
    device === 'nvme'
      ? 'device nvme needs nvmePath, the folder that the file is to be in.'
      : 'device cpu has no file; leave nvmePath out.';
  const code = device === 'nvme' ? 'MISSING_OPTION' : 'INVALID_OPTION';
  throw new OptionError(code, 'offloadOptimizer', 'nvmePath', problem);
}
