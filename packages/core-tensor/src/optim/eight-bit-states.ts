import { zerosBuffer } from '../create.js';
import type { DynamicMapKind } from '../quantization/dynamic-map.js';
import type { Tensor } from '../tensor.js';
import { type AdamWOptions, type AdamWState, adamW } from './adamw.js';
import { blockCount, blockwiseCoder } from './blockwise-codes.js';
import { type LionOptions, type LionState, lion } from './lion.js';
import { mapNamed, type Named, type Optimizer } from './optimizer.js';

/** As bitsandbytes has it: parameters with fewer elements keep float32 moments. */
const SMALLEST_IN_8_BITS = 4096;

export interface EightBitState<State> {
  /** What the rule keeps besides moments in 8 bits: counters, and the moments of small parameters. */
  readonly rest: State;
  /** By moment and parameter: uint8 in the parameter's shape, and float32 scales of blocks of 256. */
  readonly codes: Readonly<Record<string, Named>>;
  readonly scales: Readonly<Record<string, Named>>;
}

/**
 * An update rule whose moments are kept in 8 bits between updates (arXiv 2110.02861): m = level(c) · scale of the block,
 * the rule as it is, then c and scale anew. `moments` names the entries of the rule's state, which must treat every
 * parameter by itself.
 */
function eightBitStates<State extends object>(
  rule: Optimizer<State>,
  moments: Readonly<Partial<Record<keyof State & string, DynamicMapKind>>>,
): Optimizer<EightBitState<State>> {
  const kinds = Object.entries(moments) as [keyof State & string, DynamicMapKind][];
  const isSmall = (p: Tensor) => p.size < SMALLEST_IN_8_BITS;
  const pick = (named: Named, wanted: (p: Tensor, name: string) => boolean): Named =>
    Object.fromEntries(Object.entries(named).filter(([name, p]) => wanted(p, name)));
  return {
    name: `${rule.name}8bit`,
    init(parameters) {
      const large = pick(parameters, (p) => !isSmall(p));
      const forEach = (make: (p: Tensor) => Tensor) =>
        Object.fromEntries(kinds.map(([moment]) => [moment, mapNamed(large, make)]));
      return {
        rest: rule.init(pick(parameters, isSmall)),
        codes: forEach((p) => zerosBuffer(p.shape, 'uint8')),
        scales: forEach((p) => zerosBuffer([blockCount(p.size)])),
      };
    },
    update(parameters, gradients, { rest, codes, scales }, learningRate) {
      const coders = kinds.map(([moment, kind]) => [moment, blockwiseCoder(kind)] as const);
      const small = rule.update(
        pick(parameters, isSmall),
        pick(gradients, (_, name) => isSmall(parameters[name]!)),
        rest,
        learningRate,
      );
      const next = {
        codes: Object.fromEntries(kinds.map(([moment]) => [moment, { ...codes[moment] }])),
        scales: Object.fromEntries(kinds.map(([moment]) => [moment, { ...scales[moment] }])),
      };
      // One parameter after the other, so that the moments of one only need be in float32 at a time.
      const updated = mapNamed(parameters, (p, name) => {
        const g = gradients[name];
        if (isSmall(p) || !g) return small.parameters[name] ?? p;
        const unpacked = coders.map(([moment, coder]) => {
          const packed = { codes: codes[moment]![name]!, scales: scales[moment]![name]! };
          return [moment, { [name]: coder.decode(packed) }];
        });
        const one = rule.update(
          { [name]: p },
          { [name]: g },
          { ...rest, ...Object.fromEntries(unpacked) },
          learningRate,
        );
        for (const [moment, coder] of coders) {
          const packed = coder.encode((one.state[moment] as Named)[name]!);
          next.codes[moment]![name] = packed.codes;
          next.scales[moment]![name] = packed.scales;
        }
        return one.parameters[name]!;
      });
      return { parameters: updated, state: { rest: small.state, ...next } };
    },
  };
}

/**
 * AdamW with its moments in 8 bits (arXiv 2110.02861): 2 bytes per element and 8 per 256 of them, instead of 8 per
 * element. Options and rule are those of `adamW`; parameters with fewer than 4096 elements keep float32 moments.
 */
export const adamW8bit = (options: AdamWOptions = {}): Optimizer<EightBitState<AdamWState>> =>
  eightBitStates(adamW(options), { mean: 'signed', square: 'unsigned' });

/** Lion with its mean in 8 bits: 1 byte per element. Options and rule are those of `lion`. */
export const lion8bit = (options: LionOptions = {}): Optimizer<EightBitState<LionState>> =>
  eightBitStates(lion(options), { mean: 'signed' });
