import type { FloatMatrix } from '@posttrain/core-tensor/quantization';

/** The matrix with rows and columns exchanged. */
export function transposed({ data, shape }: FloatMatrix): FloatMatrix {
  const [rows, columns] = shape as [number, number];
  const result = new Float32Array(data.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) result[column * rows + row] = data[row * columns + column]!;
  }
  return { data: result, shape: [columns, rows] };
}
