import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { GeneratorManifest } from '../src/index.js';

/** Greedy generation from an exported folder with nothing but ONNX Runtime: the tokens, and the logits that chose each. */
export async function generateExported(
  folder: string,
  manifest: GeneratorManifest,
  prompt: readonly number[],
  maxTokens: number,
): Promise<{ tokens: number[]; logits: Float32Array[] }> {
  const open = (file: string) => InferenceSession.create(join(folder, file), { logSeverityLevel: 3 });
  const [prefill, decode] = [await open(manifest.files.prefill), await open(manifest.files.decode)];
  const int32 = (values: readonly number[]) => new Tensor('int32', Int32Array.from(values), [values.length]);
  const { shape, names } = manifest.cache;
  const size = shape.reduce((product, dim) => product * dim, 1);
  let cache = Object.fromEntries(
    names.map(({ input }) => [input, new Tensor('float32', new Float32Array(size), shape)]),
  );
  let length = 0;
  const extend = async (session: InferenceSession, width: number, real: readonly number[]) => {
    const padded = Int32Array.from({ length: width }, (_, i) => real[i] ?? 0);
    const tokens = new Tensor('int32', padded, [1, width]);
    const results = await session.run({ ...cache, tokens, lengths: int32([length]), counts: int32([real.length]) });
    cache = Object.fromEntries(names.map(({ input, output }) => [input, results[output] as Tensor])) as typeof cache;
    length += real.length;
    return results.logits!.data as Float32Array;
  };
  try {
    let last: Float32Array = new Float32Array();
    for (let start = 0; start < prompt.length; start += manifest.promptWidth) {
      last = await extend(prefill, manifest.promptWidth, prompt.slice(start, start + manifest.promptWidth));
    }
    const logits: Float32Array[] = [last];
    const tokens = [last.indexOf(last.reduce((a, b) => Math.max(a, b)))];
    while (tokens.length < maxTokens && !manifest.endTokens.includes(tokens.at(-1)!)) {
      const next = await extend(decode, 1, [tokens.at(-1)!]);
      logits.push(next);
      tokens.push(next.indexOf(next.reduce((a, b) => Math.max(a, b))));
    }
    return { tokens, logits };
  } finally {
    await prefill.release();
    await decode.release();
  }
}
