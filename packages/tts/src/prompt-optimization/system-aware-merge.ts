import type { Random } from '@posttrain/interfaces/random';

/** The prompts of a system by the name of their component. */
export type PromptCandidate = Readonly<Record<string, string>>;

/** A candidate with where it comes from and how good it is. */
export interface Lineage {
  readonly components: PromptCandidate;
  /** Indices into the pool: none of the seed, one of a mutation, two of a merge. */
  readonly parents: readonly number[];
  /** Mean over the validation instances. */
  readonly score: number;
}

function ancestors(pool: readonly Lineage[], of: number, found = new Set<number>()): Set<number> {
  for (const parent of pool[of]!.parents) {
    if (found.has(parent)) continue;
    found.add(parent);
    ancestors(pool, parent, found);
  }
  return found;
}

/**
 * The common ancestors over which two candidates may be merged (GEPA, arXiv 2507.19457 §3, algorithm 4): neither of the two comes from the
 * other, the ancestor is no better than either, and there is a component that one of them has changed and the other has not. In the order of
 * the pool.
 */
export function mergeAncestors(pool: readonly Lineage[], i: number, j: number): number[] {
  const [ofI, ofJ] = [ancestors(pool, i), ancestors(pool, j)];
  if (i === j || ofI.has(j) || ofJ.has(i)) return [];
  const [a, b] = [pool[i]!, pool[j]!];
  const isDesirable = ({ components }: Lineage) =>
    Object.keys(components).some((name) => {
      const [mine, other] = [a.components[name], b.components[name]];
      return mine !== other && (components[name] === mine || components[name] === other);
    });
  return [...pool.keys()].filter((k) => {
    const { score } = pool[k]!;
    return ofI.has(k) && ofJ.has(k) && score <= Math.min(a.score, b.score) && isDesirable(pool[k]!);
  });
}

/**
 * The merge of candidates i and j over an ancestor, component by component: what only one of them has changed is taken from that one; what both
 * have changed, from the one of the higher score (of equal scores, by lot); what neither has, stays.
 */
export function systemAwareMerge(
  pool: readonly Lineage[],
  i: number,
  j: number,
  ancestor: number,
  random: Pick<Random, 'float'>,
): PromptCandidate {
  const [a, b, base] = [pool[i]!, pool[j]!, pool[ancestor]!.components];
  return Object.fromEntries(
    Object.keys(base).map((name) => {
      const [mine, other] = [a.components[name]!, b.components[name]!];
      if (mine === other || other === base[name]) return [name, mine];
      if (mine === base[name]) return [name, other];
      const takesMine = a.score === b.score ? random.float() < 0.5 : a.score > b.score;
      return [name, takesMine ? mine : other];
    }),
  );
}
