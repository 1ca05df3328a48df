import { EngineError } from '../errors.js';
import { type Graph, type GraphKernel, type GraphNode, isOp } from '../graph/node.js';
import { simplify } from '../graph/simplify.js';
import { splitIntoStages } from '../graph/stages.js';
import type { CompileOptions, Engine, Executable } from './engine.js';
import { stagedExecutable } from './staged-executable.js';

/** Whether the engine itself computes a kernel: from its own table, or by the lowering that the kernel brings for it. */
const computes = (engine: Engine, kernel: GraphKernel): boolean =>
  engine.kernels.has(kernel.name) || kernel.lower?.[engine.name] !== undefined;

/**
 * Makes a graph ready to run on an engine: simplified, its kernels expanded where the engine does not compute them, and
 * cut into stages around those that only a host function computes. Throws `EngineError` for one that nothing computes.
 */
export async function compileGraph(engine: Engine, graph: Graph, options: CompileOptions): Promise<Executable> {
  const known = await engine.recall?.(graph, { ...options, kernels: engine.kernels });
  if (known) return known;
  const simplified = simplify(graph, { kernels: (kernel) => computes(engine, kernel) });
  const isHost = (node: GraphNode): boolean => isOp(node, 'kernel') && !computes(engine, node.attributes.kernel);
  for (const node of simplified.nodes) if (isOp(node, 'kernel') && isHost(node)) checkHost(node, engine);
  if (!simplified.nodes.some(isHost)) return engine.compile(simplified, { ...options, traced: graph });
  return stagedExecutable(engine, simplified, splitIntoStages(simplified, isHost), options);
}

function checkHost(node: GraphNode<'kernel'>, engine: Engine): void {
  const { name, lower = {} } = node.attributes.kernel;
  if (lower.host) return;
  const present = Object.keys(lower).join(', ') || 'none';
  throw new EngineError(
    engine.name,
    `nothing computes ${name} here (its forwards: ${present}). Add lower.${engine.name}, or decompose or lower.host, ` +
      'which work on every engine.',
  );
}
