import type { OpName } from '../graph/node.js';
import { barrierCases } from './barrier-cases.js';
import type { ConformanceCase } from './case.js';
import { elementwiseCases } from './elementwise-cases.js';
import { kernelCases } from './kernel-cases.js';
import { movementCases } from './movement-cases.js';
import { pagedCases } from './paged-cases.js';
import { quantizationCases } from './quantization-cases.js';
import { reductionCases } from './reduction-cases.js';

/** The type makes a primitive without cases an error of the type checker. `kernel` stands for every fused kernel. */
const casesByPrimitive: { readonly [Name in OpName]: () => readonly ConformanceCase[] } = {
  ...movementCases,
  ...elementwiseCases,
  ...reductionCases,
  ...barrierCases,
  kernel: () =>
    [kernelCases, quantizationCases, pagedCases].flatMap((cases) => Object.values(cases).flatMap((make) => make())),
};

/** Every case, in the order of the primitives, the fused kernels last. */
export function conformanceCases(): readonly ConformanceCase[] {
  return Object.values(casesByPrimitive).flatMap((make) => make());
}
