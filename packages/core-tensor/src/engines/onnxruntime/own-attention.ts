import { type GraphNode, specOf } from '../../graph/node.js';
import type { FlashAttentionConfig } from '../../kernels/flash-attention-blocks.js';
import type { FlashAttentionGradientConfig } from '../../kernels/flash-attention-gradient.js';
import { sizeOf } from '../../shape.js';
import { configOf, type KernelRule } from './lower-kernels.js';
import type { Lowering, LoweringTarget } from './lowering.js';
import { KERNEL_DOMAIN } from './proto.js';

/** The kernels that `Attention` and `AttentionGradient` of our kernels compute. */
export const OWN_ATTENTION: ReadonlySet<string> = new Set(['flashAttention', 'flashAttentionGradient']);

/** Whether our kernels compute this attention: in float32, without a soft cap and ALiBi. */
export function attendsOwn(node: GraphNode<'kernel'>, { products }: Pick<LoweringTarget, 'products'>): boolean {
  const { softCap, alibi = false } = configOf<FlashAttentionConfig>(node);
  const operands = node.inputs.map((input) => specOf(input));
  return (
    products?.attention !== undefined &&
    softCap === undefined &&
    !alibi &&
    operands.every((operand) => operand.dtype === 'float32' || operand.dtype === 'int32') &&
    operands.slice(0, 3).every(({ shape }) => sizeOf(shape) > 0)
  );
}

function attributesOf(config: FlashAttentionConfig, lowering: Lowering) {
  const { scale, causal = true, slidingWindow = 0 } = config;
  return {
    arithmetic: lowering.target.products!.attention!,
    scale: { float: scale },
    causal: Number(causal),
    window: slidingWindow,
  };
}

/** The lowerings of the kernels in `OWN_ATTENTION`. */
export const attentionRules: Readonly<Record<string, KernelRule>> = {
  flashAttention: (node, lowering) => {
    const config = configOf<FlashAttentionConfig>(node);
    const [q, k, v, ...rest] = node.inputs.map((input) => lowering.name(input));
    const segments = config.hasSegments ? rest[0]! : '';
    const sinks = config.hasSinks ? rest.at(-1)! : '';
    const inputs = withoutLastEmpty([q!, k!, v!, segments, sinks]);
    return lowering.builder.ops('Attention', inputs, 2, attributesOf(config, lowering), KERNEL_DOMAIN);
  },

  flashAttentionGradient: (node, lowering) => {
    const config = configOf<FlashAttentionGradientConfig>(node);
    const names = node.inputs.map((input) => lowering.name(input));
    const segments = config.hasSegments ? names.splice(3, 1)[0]! : '';
    const inputs = withoutLastEmpty([...names, ...(config.hasLogSumCotangent ? [] : ['']), segments]);
    return lowering.builder.ops('AttentionGradient', inputs, 3, attributesOf(config, lowering), KERNEL_DOMAIN);
  },
};

/** Optional inputs that are not there, at the end. */
function withoutLastEmpty(names: readonly string[]): string[] {
  const last = names.findLastIndex((name) => name !== '');
  return names.slice(0, last + 1);
}
