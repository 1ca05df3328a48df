import { nameScope, type Tensor } from '@posttrain/core-tensor';
import type { DecoderConfig, ShortConvolution } from '../config/index.js';
import type { Projection } from './decoder-layers.js';
import type { BoundLayers, ForwardInput, ParameterInfo } from './family.js';

/** The linear layers of a block's short convolution. */
export const convolutionProjections = (
  { hiddenSize: width }: DecoderConfig,
  { bias }: ShortConvolution,
  block: string,
): Projection[] => [
  { name: `${block}.conv.in_proj`, in: width, out: 3 * width, bias },
  { name: `${block}.conv.out_proj`, in: width, out: width, bias },
];

/** Its filters, [width, 1, taps] as in torch. */
export const convolutionParameters = (
  { hiddenSize: width }: DecoderConfig,
  { taps, bias }: ShortConvolution,
  block: string,
): ParameterInfo[] => [
  { name: `${block}.conv.conv.weight`, shape: [width, 1, taps], init: 'normal' },
  ...(bias ? [{ name: `${block}.conv.conv.bias`, shape: [width], init: 'zeros' as const }] : []),
];

/** See `ShortConvolution`: x [b, s, width] of the block `block` → [b, s, width]. */
export function shortConvolution(
  { taps, bias }: ShortConvolution,
  { linear, parameter }: BoundLayers,
  input: ForwardInput,
  x: Tensor,
  { layer, block }: { readonly layer: number; readonly block: string },
): Tensor {
  const width = x.shape[2]!;
  const all = linear(x, `${block}.conv.in_proj`);
  const [before, behind, value] = [0, 1, 2].map((i) => all.slice(2, i * width, (i + 1) * width)) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  const mixed = nameScope(`${block}.conv.conv`, () => {
    const filters = parameter(`${block}.conv.conv.weight`);
    const sum = input
      .recent(layer, before.mul(value), taps)
      .map((rows, distance) => rows.mul(filters.slice(2, taps - 1 - distance, taps - distance).reshape([1, 1, width])))
      .reduce((one, other) => one.add(other));
    return behind.mul(bias ? sum.add(parameter(`${block}.conv.conv.bias`)) : sum);
  });
  return linear(mixed, `${block}.conv.out_proj`);
}
