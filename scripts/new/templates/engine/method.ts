import { type Engine, type Executable, referenceEngine } from '@posttrain/core-tensor';

/**
 * An engine that computes as the one inside does, and counts the runs of its graphs (arXiv 0000.00000). Without kernels of its own every
 * fused one is decomposed into primitives before a graph arrives; docs/engines.md of the repository says what an engine promises.
 *
 * @param inside what computes; default the reference engine, in plain TypeScript
 */
export function myMethod(inside: Engine = referenceEngine()): Engine & { readonly runs: number } {
  let runs = 0;
  const { upload, read, free, nativeDTypes } = inside;
  return {
    ...{ name: 'my-method', device: inside.device, kernels: new Set<string>(), nativeDTypes },
    upload: (data, spec) => upload.call(inside, data, spec),
    read: (buffer) => read.call(inside, buffer),
    ...(free && { free: (buffer) => free.call(inside, buffer) }),
    async compile(graph, options): Promise<Executable> {
      const executable = await inside.compile(graph, options);
      return {
        run(inputs) {
          runs++;
          return executable.run(inputs);
        },
        dispose: () => executable.dispose(),
      };
    },
    get runs() {
      return runs;
    },
  };
}
