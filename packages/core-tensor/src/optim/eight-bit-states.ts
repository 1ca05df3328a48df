import { barrier } from '../autodiff/barrier.js';
import { zerosBuffer } from '../create.js';
import type { DynamicMapKind } from '../quantization/dynamic-map.js';
import { concat, type Tensor } from '../tensor.js';
import { type AdamWOptions, type AdamWState, adamW } from './adamw.js';
import { BLOCK_SIZE, type BlockwiseCodes, blockCount, blockwiseCoder } from './blockwise-codes.js';
import { type LionOptions, type LionState, lion } from './lion.js';
import { mapNamed, type Named, type Optimizer } from './optimizer.js';

/** As bitsandbytes has it: parameters with fewer elements keep float32 moments. */
const SMALLEST_IN_8_BITS = 4096;

/** The state of an optimizer that keeps its moments in 8 bits (arXiv 2110.02861). */
export interface EightBitState<State> {
  /** What the rule keeps besides moments in 8 bits: counters, and the moments of small parameters. */
  readonly rest: State;
  /** By moment and parameter: uint8 in the parameter's shape, and float32 scales of blocks of 256. */
  readonly codes: Readonly<Record<string, Named>>;
  readonly scales: Readonly<Record<string, Named>>;
}

/**
 * An update rule whose moments are kept in 8 bits between updates (arXiv 2110.02861): m = level(c) · scale of the block,
 * the rule as it is, then c and scale anew. `moments` names the entries of the rule's state; the rule must treat every
 * element by itself, because it is given large parameters in parts.
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
    settings: rule.settings,
    isPerParameter: rule.isPerParameter ?? false,
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
      let last: Tensor[] = [];
      const updated = mapNamed(parameters, (p, name) => {
        const g = gradients[name];
        if (isSmall(p) || !g) return small.parameters[name] ?? p;
        const parts: Tensor[] = [];
        const packed = coders.map(() => [] as BlockwiseCodes[]);
        for (const [start, end] of rowRanges(p.shape)) {
          // After the part before, so that the moments of one part at a time are in float32.
          const rows = (x: Tensor) => barrier(x, last).slice(0, start, end);
          const perRow = p.size / p.shape[0]!;
          const unpacked = coders.map(([moment, coder]) => {
            const given = rows(codes[moment]![name]!);
            const blocks = [(start * perRow) / BLOCK_SIZE, Math.ceil((end * perRow) / BLOCK_SIZE)] as const;
            return [
              moment,
              { [name]: coder.decode({ codes: given, scales: scales[moment]![name]!.slice(0, ...blocks) }) },
            ];
          });
          const state = { ...rest, ...Object.fromEntries(unpacked) };
          const one = rule.update({ [name]: rows(p) }, { [name]: rows(g) }, state, learningRate);
          parts.push(one.parameters[name]!);
          const codesOfPart = coders.map(([moment, coder], i) => {
            const next = coder.encode((one.state[moment] as Named)[name]!);
            packed[i]!.push(next);
            return next.codes;
          });
          last = [one.parameters[name]!, ...codesOfPart];
        }
        for (const [i, [moment]] of coders.entries()) {
          next.codes[moment]![name] = concat(
            packed[i]!.map((one) => one.codes),
            0,
          );
          next.scales[moment]![name] = concat(
            packed[i]!.map((one) => one.scales),
            0,
          );
        }
        return concat(parts, 0);
      });
      return { parameters: updated, state: { rest: small.state, ...next } };
    },
  };
}

/** Elements of a parameter that are unpacked at a time. */
const PART_SIZE = 2 ** 20;

/** Parts of a shape along its first axis, as [start, end): about as large as that, and of whole blocks but for the last. */
function rowRanges(shape: readonly number[]): [number, number][] {
  const rows = shape[0]!;
  const perRow = shape.slice(1).reduce((a, b) => a * b, 1);
  // The fewest rows that are whole blocks.
  let unit = 1;
  while ((unit * perRow) % BLOCK_SIZE !== 0) unit *= 2;
  const step = unit * Math.max(1, Math.round(PART_SIZE / (unit * perRow)));
  return Array.from({ length: Math.ceil(rows / step) }, (_, i) => [i * step, Math.min(rows, (i + 1) * step)]);
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
