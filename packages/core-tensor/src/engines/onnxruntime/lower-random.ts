import type { OnnxGraphBuilder } from './graph-builder.js';
import type { LoweringRule } from './lowering.js';
import { onnxTypes } from './proto.js';

const ROTATIONS = [13, 15, 26, 6, 17, 29, 16, 24] as const;
const PARITY = 0x1bd11bda;

/**
 * Threefry-2x32 (see `@posttrain/interfaces/random`) on vectors, one element per block. Additions are int32, which wraps;
 * shifts and xors are uint32.
 */
export const randomBits: LoweringRule<'randomBits'> = (node, lowering) => {
  const b = lowering.builder;
  const { shape } = node.outputs[0]!;
  const size = shape.reduce((product, dim) => product * dim, 1);
  const blocks = Math.ceil(size / 2);
  const unsigned = (value: string) => b.cast(value, onnxTypes.uint32);
  const signed = (value: string) => b.cast(value, onnxTypes.int32);
  const constant = (value: number) => b.constant('int32', [], [value]);
  const xor = (x: string, y: string) => signed(b.op('BitwiseXor', [unsigned(x), unsigned(y)]));
  const add = (...terms: string[]) => terms.reduce((sum, term) => b.op('Add', [sum, term]));

  const key = lowering.name(node.inputs[0]!);
  const [key0, key1] = [0, 1].map((i) => b.op('Gather', [key, b.constant('int64', [], [i])], { axis: 0 }));
  const keys = [key0!, key1!, xor(xor(key0!, key1!), constant(PARITY))];
  const counter = b.range('int32', blocks);
  let x0 = add(counter, keys[0]!);
  let x1 = b.op('Expand', [keys[1]!, b.ints([blocks])]);
  for (let group = 0; group < 5; group++) {
    for (let i = 0; i < 4; i++) {
      x0 = add(x0, x1);
      x1 = xor(signed(rotateLeft(b, unsigned(x1), ROTATIONS[(group % 2) * 4 + i]!)), x0);
    }
    x0 = add(x0, keys[(group + 1) % 3]!);
    x1 = add(x1, keys[(group + 2) % 3]!, constant(group + 1));
  }
  const words = b.op(
    'Concat',
    [x0, x1].map((x) => b.reshape(x, [blocks, 1])),
    { axis: 1 },
  );
  const flat = b.reshape(words, [2 * blocks]);
  const exact = size === 2 * blocks ? flat : b.op('Slice', [flat, b.ints([0]), b.ints([size])]);
  return [b.reshape(exact, shape)];
};

function rotateLeft(b: OnnxGraphBuilder, x: string, bits: number): string {
  const by = (n: number) => b.cast(b.constant('int32', [], [n]), onnxTypes.uint32);
  const left = b.op('BitShift', [x, by(bits)], { direction: 'LEFT' });
  return b.op('BitwiseOr', [left, b.op('BitShift', [x, by(32 - bits)], { direction: 'RIGHT' })]);
}
