import { DTYPES, type DType, decodeNumbers, encodeNumbers, type TypedArray } from '../../dtype.js';
import { EngineError } from '../../errors.js';
import { type Graph, type GraphNode, isOp, type TensorSpec, type Value } from '../../graph/node.js';
import type { Engine, EngineBuffer, Executable } from '../engine.js';
import { allocateValues, interpret } from './interpret.js';
import type { Values } from './strided.js';

class ReferenceBuffer implements EngineBuffer {
  constructor(
    readonly spec: TensorSpec,
    readonly values: Values,
  ) {}
}

function valuesOf(buffer: EngineBuffer): Values {
  if (!(buffer instanceof ReferenceBuffer)) throw new EngineError('reference', 'got a buffer of another engine');
  return buffer.values;
}

/**
 * Interprets graphs one primitive at a time, in double precision: the oracle of the tests. Slow by design, and
 * without fused kernels, so that what it computes is the decomposition.
 */
export function referenceEngine(): Engine {
  return {
    name: 'reference',
    device: 'cpu',
    kernels: new Set(),
    nativeDTypes: new Set<DType>(DTYPES),
    upload(data: TypedArray, spec: TensorSpec): EngineBuffer {
      const values = allocateValues(spec.dtype, data.length);
      values.set(decodeNumbers(data, spec.dtype));
      return new ReferenceBuffer(spec, values);
    },
    async read(buffer: EngineBuffer): Promise<TypedArray> {
      const values = valuesOf(buffer);
      const { dtype } = buffer.spec;
      return dtype === 'float16' || dtype === 'bfloat16' ? encodeNumbers(values, dtype) : values;
    },
    async compile(graph: Graph): Promise<Executable> {
      // Read now: a constant's storage may later move to an engine.
      const constants = new Map<GraphNode, readonly Values[]>();
      for (const node of graph.nodes) if (isOp(node, 'data')) constants.set(node, interpret(node, []));
      return {
        async run(inputs) {
          const results = new Map(constants);
          graph.inputs.forEach((node, i) => {
            results.set(node, [valuesOf(inputs[i]!)]);
          });
          const lookUp = ({ node, index }: Value) => results.get(node)![index]!;
          for (const node of graph.nodes) {
            if (!results.has(node)) results.set(node, interpret(node, node.inputs.map(lookUp)));
          }
          return graph.outputs.map((value) => {
            // A graph may return an input; a buffer of its own keeps donation safe.
            return new ReferenceBuffer(value.node.outputs[value.index]!, lookUp(value).slice());
          });
        },
        async dispose() {},
      };
    },
  };
}
