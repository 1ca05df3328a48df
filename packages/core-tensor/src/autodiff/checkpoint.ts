import { full } from '../create.js';
import { isFloat } from '../dtype.js';
import { makeNode, nextNodeId, specOf } from '../graph/node.js';
import { rebuild, regionSince } from '../graph/rebuild.js';
import { Tensor } from '../tensor.js';
import { leavesOf, withLeaves } from '../tree.js';
import { backward } from './backward.js';
import { barrier } from './barrier.js';
import { tensorOf } from './vjp-rules.js';

/**
 * Activation checkpointing (arXiv 1604.06174): `checkpoint(f)(...args)` equals `f(...args)`, but what f computes on the
 * way is not kept for the gradient: it is computed again, when the backward pass arrives at f. Of n checkpointed layers,
 * the activations of one exist at a time, besides the inputs of each, for about one forward pass more.
 *
 * f takes and gives tensors or trees of tensors; tensors that it closes over (weights) get their gradients as well.
 * Values and gradients are bit for bit those of f. Checkpoints nest.
 */
export function checkpoint<Args extends readonly unknown[], Out>(f: (...args: Args) => Out): (...args: Args) => Out {
  return (...args) => {
    const firstId = nextNodeId();
    const output = f(...args);
    const region = regionSince(
      firstId,
      leavesOf(output).map(({ tensor }) => tensor.value),
    );
    const node = makeNode('customVjp', [...region.outputs, ...region.boundary], {
      outputs: region.outputs.length,
      backward: ({ inputs, cotangents, needed }) => {
        const given = cotangents.flatMap((value) => (value ? [tensorOf(value)] : []));
        const again = inputs.map((value) => barrier(tensorOf(value), given));
        const outputs = rebuild(
          region,
          again.map(({ value }) => value),
        ).filter((_, i) => cotangents[i] !== undefined);
        const isVariable = inputs.map((value, i) => needed[i]! && isFloat(specOf(value).dtype));
        const gradients = backward(
          outputs.map(tensorOf),
          given,
          again.filter((_, i) => isVariable[i]),
        );
        const ordered = together(gradients);
        let next = 0;
        return isVariable.map((wanted) => (wanted ? ordered[next++]!.value : undefined));
      },
    });
    return withLeaves(
      output,
      node.outputs.map((_, index) => new Tensor({ node, index })),
    );
  };
}

/**
 * The tensors, none of which can be read before all exist: otherwise the gradient of one layer's input would be
 * followed further down, while its weights' gradients, not yet asked for, keep the layer's activations.
 */
function together(tensors: readonly Tensor[]): readonly Tensor[] {
  if (tensors.length < 2) return tensors;
  const all = barrier(full([], 0), tensors);
  return tensors.map((x) => barrier(x, [all]));
}
