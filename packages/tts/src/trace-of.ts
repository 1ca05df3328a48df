import type { Ledger } from '@posttrain/interfaces/ledger';
import type { BudgetLimit } from './budget.js';
import type { SearchNode } from './search-node.js';
import type { Problem, SearchOptions } from './search-options.js';
import type { Trace } from './trace.js';

/** The trace of a search that was run with `options` and spent what the ledger says. */
export function traceOf(search: {
  readonly strategy: string;
  readonly problem: Problem;
  readonly options: SearchOptions;
  readonly exhausted: BudgetLimit | null;
  readonly ledger: Ledger;
  readonly rounds: { readonly lostCompletions: number; readonly hasVerifierTokens: boolean };
  readonly notes: readonly string[];
  readonly nodes: readonly SearchNode[];
}): Trace {
  const { strategy, problem, options, exhausted, ledger, rounds, notes, nodes } = search;
  const { generator, generators, verifier, n, sampling = {}, budget = {} } = options;
  const { verifierTokens, ...spent } = ledger.spent;
  const roles = Object.entries(generators ?? {}).map(([role, { name }]) => [role, name]);
  return {
    format: 'posttrain-trace',
    version: 1,
    strategy,
    generator: generator.name,
    ...(roles.length > 0 ? { generators: Object.fromEntries(roles) } : {}),
    verifier: verifier?.name ?? null,
    prompt: problem.prompt,
    prefix: problem.prefix ?? '',
    n,
    sampling,
    budget,
    exhausted,
    spent: {
      ...spent,
      ...(rounds.hasVerifierTokens ? { verifierTokens } : {}),
      lostCompletions: rounds.lostCompletions,
      wallTimeMs: ledger.elapsedMs,
    },
    ...(notes.length > 0 && { notes }),
    nodes: nodes.map(({ key, payload, node }) => {
      const cost = ledger.costOf(key);
      return {
        ...node,
        ...((cost.verifierCalls ?? 0) > 1 ? { verifierCalls: cost.verifierCalls! } : {}),
        ...(cost.verifierTokens ? { verifierTokens: cost.verifierTokens } : {}),
        ...(payload === undefined ? {} : { payload: JSON.parse(JSON.stringify(payload)) }),
      };
    }),
  };
}
