import type { ModuleInfo } from '@posttrain/lm';
import { AdapterConfigError } from '../adapters/errors.js';
import { linearShape } from '../adapters/layer-method.js';
import { patternValue } from '../adapters/targets.js';

/** How many coefficients a module has: of FourierFT and WaveFT. */
interface SpectrumConfig {
  readonly nFrequency: number;
  readonly nFrequencyPattern: Parameters<typeof patternValue>[0];
}

export function countOf({ name }: ModuleInfo, { nFrequency, nFrequencyPattern }: SpectrumConfig): number {
  return patternValue(nFrequencyPattern, 'nFrequencyPattern', name) ?? nFrequency;
}

/** @throws AdapterConfigError for a module that has fewer places than coefficients */
export function checkCounts(config: SpectrumConfig, targets: readonly ModuleInfo[]): void {
  for (const target of targets) {
    const { inputs, outputs } = linearShape(target);
    const count = countOf(target, config);
    if (Number.isInteger(count) && count > 0 && count <= inputs * outputs) continue;
    throw new AdapterConfigError(
      `${target.name}: nFrequency ${count} is not from 1 to ${inputs * outputs}, inputs × outputs`,
    );
  }
}
