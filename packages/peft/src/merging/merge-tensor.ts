import type { Key } from '@posttrain/core-tensor';
import type { TensorSource } from '@posttrain/core-tensor/io';
import type { MergePart, MergeTensor } from './merge-method.js';

/** A tensor of an open folder. */
export interface SourceTensor {
  readonly source: TensorSource;
  readonly name: string;
}

/** What `streamedTensor` reads from. */
export interface StreamedTensor extends Pick<MergeTensor, 'name' | 'shape' | 'transposed' | 'about'> {
  readonly base: SourceTensor | undefined;
  readonly models: readonly SourceTensor[];
  /** For what is drawn: of the tensor. */
  readonly key: Key;
  /** Most numbers of a part, but never less than a row. */
  readonly partNumbers: number;
}

const NOTHING = new Float32Array(0);

/** A tensor of several folders, read part by part into one array a model. */
export function streamedTensor({ base, models, key, partNumbers, ...given }: StreamedTensor): MergeTensor {
  const { shape } = given;
  const size = shape.reduce((product, length) => product * length, 1);
  const row = shape.at(-1) ?? 1;
  const partSize = Math.min(size, Math.max(1, Math.floor(partNumbers / Math.max(1, row))) * row);
  const sources = [...(base ? [base] : []), ...models];
  let buffers: Float32Array[] | undefined;
  async function* parts(): AsyncGenerator<MergePart> {
    buffers ??= sources.map(() => new Float32Array(partSize));
    for (let from = 0; from < size; from += partSize) {
      const to = Math.min(from + partSize, size);
      const read = await Promise.all(
        sources.map(async ({ source, name }, i) => {
          const into = buffers![i]!.subarray(0, to - from);
          await source.read(name, { as: 'float32', range: [from, to], into });
          return into;
        }),
      );
      yield { from, base: base ? read[0]! : NOTHING, models: base ? read.slice(1) : read };
    }
  }
  return {
    ...given,
    ...{ size, models: models.length, parts },
    uniforms: (model, from, count) => key.child(model).uniformHost(count, from),
    whole: async (model) => {
      const { source, name } = models[model]!;
      return (await source.read(name, { as: 'float32' })).data as Float32Array;
    },
  };
}
