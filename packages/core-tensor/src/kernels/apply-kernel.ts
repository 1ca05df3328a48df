import { KernelOptionError } from '../errors.js';
import type { GraphKernel, Value } from '../graph/ops.js';
import { applyMany, Tensor } from '../tensor.js';
import type { Kernel } from './kernel.js';

/**
 * Applies a fused kernel: one node of the graph, however it is computed.
 *
 * Throws `KernelOptionError` where the config holds something that JSON does not: two applications
 * would look equal that are not.
 */
export function applyKernel<Config>(kernel: Kernel<Config>, inputs: readonly Tensor[], config: Config): Tensor[] {
  const bad = notPlain(config, 'config');
  if (bad !== undefined) {
    throw new KernelOptionError(
      kernel.name,
      `${bad} is not plain data (numbers, strings, booleans, null, arrays and plain objects of them); ` +
        'pass numbers that change, and arrays, as input tensors',
    );
  }
  return applyMany('kernel', inputs, { kernel: graphKernelOf(kernel), config });
}

/** One for a kernel, as graphs tell kernels apart by identity. */
const graphKernels = new WeakMap<object, GraphKernel>();

/** A kernel as graphs have it. */
export function graphKernelOf<Config>(kernel: Kernel<Config>): GraphKernel {
  const known = graphKernels.get(kernel);
  if (known) return known;
  const { name, lower, decompose, vjp } = kernel;
  const made: GraphKernel = {
    name,
    ...(lower && { lower }),
    infer: (inputs, config) => kernel.infer(inputs, config as Config),
    ...(decompose && {
      decompose: (inputs, config, wanted) =>
        kernel.decompose!(inputs.map(tensorOf), config as Config, wanted).map(({ value }) => value),
    }),
    ...(vjp && {
      vjp: ({ inputs, outputs, cotangents, config, needed }) =>
        kernel.vjp!({
          inputs: inputs.map(tensorOf),
          outputs: outputs.map(tensorOf),
          cotangents: cotangents.map((value) => value && tensorOf(value)),
          config: config as Config,
          needed,
        }).map((tensor) => tensor?.value),
    }),
  };
  graphKernels.set(kernel, made);
  return made;
}

const tensorOf = (value: Value): Tensor => new Tensor(value);

/** The path of the first thing that is not plain data. */
function notPlain(value: unknown, path: string): string | undefined {
  if (value === undefined || value === null || ['number', 'string', 'boolean'].includes(typeof value)) return undefined;
  if (Array.isArray(value)) return firstOf(value.map((item, i) => notPlain(item, `${path}[${i}]`)));
  if (typeof value !== 'object' || ![Object.prototype, null].includes(Object.getPrototypeOf(value))) return path;
  return firstOf(Object.entries(value).map(([key, item]) => notPlain(item, `${path}.${key}`)));
}

const firstOf = (paths: readonly (string | undefined)[]): string | undefined =>
  paths.find((path) => path !== undefined);
