import { defineOp, iota, type Tensor, type TensorSpec, where } from '@posttrain/core-tensor';
import { PosttrainError } from '@posttrain/interfaces';

/** ONNX's number for int64. */
const INT64 = 7;

interface GroupedMatmulConfig {
  /** Matrices are [out, in], as linear layers have them, and not [in, out]. */
  readonly transposeB: boolean;
}

const matrixOf = (name: string, spec: TensorSpec): readonly [number, number] => {
  const [rows, columns, ...rest] = spec.shape;
  if (columns === undefined || rest.length > 0) {
    throw new PosttrainError('GROUPED_MATMUL', `${name} needs matrices, not [${spec.shape.join(', ')}]`);
  }
  return [rows!, columns];
};

/** Rows [n, 1] of each group as a bool mask: the first counts[0] rows are group 0, and so on. */
function groupMasks(rows: number, counts: Tensor): Tensor[] {
  const at = iota([rows, 1], 0);
  const ends = counts.cumsum(0);
  const starts = ends.sub(counts);
  return Array.from({ length: counts.shape[0]! }, (_, group) =>
    at.greaterEqual(starts.slice(0, group, group + 1)).and(at.less(ends.slice(0, group, group + 1))),
  );
}

const groupedMatmulOp = defineOp<GroupedMatmulConfig>({
  name: 'posttrain/grouped-matmul',
  infer: ([x, counts, ...matrices], { transposeB }) => {
    const [rows, width] = matrixOf('groupedMatmul', x!);
    const outs = matrices.map((matrix) => {
      const [first, second] = matrixOf('groupedMatmul', matrix);
      const [out, inputs] = transposeB ? [first, second] : [second, first];
      return inputs === width && matrix.dtype === x!.dtype ? out : undefined;
    });
    if (outs[0] === undefined || outs.some((out) => out !== outs[0]) || `${counts!.shape}` !== `${matrices.length}`) {
      const shapes = matrices.map(({ shape, dtype }) => `${dtype} [${shape.join(', ')}]`).join(' ');
      throw new PosttrainError(
        'GROUPED_MATMUL',
        `groupedMatmul: ${x!.dtype} [${x!.shape.join(', ')}], counts [${counts!.shape.join(', ')}] and ${shapes} do not fit`,
      );
    }
    return [{ shape: [rows, outs[0]], dtype: x!.dtype }];
  },
  decompose: ([x, counts, ...matrices], { transposeB }) => [
    groupMasks(x!.shape[0]!, counts!)
      .map((mask, group) => where(mask, x!.matmul(matrices[group]!, { transposeB }), 0))
      .reduce((sum, part) => sum.add(part)),
  ],
  lower: {
    onnxruntime: ({ inputs: [x, counts, ...matrices], config: { transposeB }, op }) => {
      const sizes = op('Cast', [counts!.name], { attributes: { to: INT64 } })[0]!;
      const split = { attributes: { axis: 0 }, outputs: matrices.length };
      const groups = matrices.length === 1 ? [x!.name] : op('Split', [x!.name, sizes], split);
      const parts = groups.map(
        (group, i) => op('Gemm', [group, matrices[i]!.name], { attributes: { transB: Number(transposeB) } })[0]!,
      );
      return parts.length === 1 ? parts : op('Concat', parts, { attributes: { axis: 0 } });
    },
  },
  vjp: ({ inputs: [x, counts, ...matrices], cotangents: [dy], config: { transposeB }, needed }) => {
    const dx = needed[0] ? groupedMatmul(dy!, counts!, matrices, { transposeB: !transposeB }) : undefined;
    if (!needed.slice(2).includes(true)) return [dx];
    const products = transposeB ? groupedOuter(dy!, x!, counts!) : groupedOuter(x!, dy!, counts!);
    return [dx, undefined, ...products.map((product, group) => (needed[2 + group] ? product : undefined))];
  },
});

const groupedOuterOp = defineOp({
  name: 'posttrain/grouped-outer',
  infer: ([a, b, counts]) => {
    const [[rows, m], [others, n]] = [matrixOf('groupedOuter', a!), matrixOf('groupedOuter', b!)];
    if (rows !== others) throw new PosttrainError('GROUPED_MATMUL', `groupedOuter: ${rows} and ${others} rows`);
    return Array.from({ length: counts!.shape[0]! }, () => ({ shape: [m, n], dtype: a!.dtype }));
  },
  decompose: ([a, b, counts]) =>
    groupMasks(a!.shape[0]!, counts!).map((mask) => where(mask, a!, 0).matmul(b!, { transposeA: true })),
  lower: {
    onnxruntime: ({ inputs: [a, b, counts], outputs, op }) => {
      const sizes = op('Cast', [counts!.name], { attributes: { to: INT64 } })[0]!;
      const groups = (name: string) =>
        outputs.length === 1
          ? [name]
          : op('Split', [name, sizes], { attributes: { axis: 0 }, outputs: outputs.length });
      const rights = groups(b!.name);
      return groups(a!.name).map((left, i) => op('Gemm', [left, rights[i]!], { attributes: { transA: 1 } })[0]!);
    },
  },
  vjp: ({ inputs: [a, b, counts], outputs, cotangents, needed }) => {
    const given = cotangents.map((dy, group) => dy ?? outputs[group]!.mul(0));
    return [
      needed[0] ? groupedMatmul(b!, counts!, given, { transposeB: true }) : undefined,
      needed[1] ? groupedMatmul(a!, counts!, given, { transposeB: false }) : undefined,
    ];
  },
});

/**
 * Each group of rows times a matrix of its own: x [n, in] whose first counts[0] rows belong to matrices[0], and so on;
 * counts int32 [groups] sum to n. Output [n, out]. What it costs is n rows times one matrix, however many groups
 * there are.
 */
export const groupedMatmul = (
  x: Tensor,
  counts: Tensor,
  matrices: readonly Tensor[],
  { transposeB }: GroupedMatmulConfig,
): Tensor => groupedMatmulOp([x, counts, ...matrices], { transposeB })[0]!;

/** aᵀ b over the rows of each group: a [n, m] and b [n, k] → one [m, k] for each of counts int32 [groups]. */
export const groupedOuter = (a: Tensor, b: Tensor, counts: Tensor): Tensor[] => groupedOuterOp([a, b, counts]);

export { groupMasks };
