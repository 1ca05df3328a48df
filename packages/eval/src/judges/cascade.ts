import {
  assertArgument,
  type PairJudge,
  type PairVerdict,
  type Usage,
  type Verdict,
  type Verifier,
} from '@posttrain/interfaces';
import { assertLength } from '../task-kind.js';
import { addUsage } from '../warnings.js';

/** One judge of a cascade. */
export interface CascadeStage<Judge, Said> {
  readonly judge: Judge;
  /** Whether what it said is final; else the next stage is asked. Default: whenever it said anything. The last stage's word always is. */
  readonly accept?: (said: Said) => boolean;
}

/** A stage of pairs. */
export type PairStage = CascadeStage<PairJudge, PairVerdict>;
/** A stage of single completions. */
export type VerifierStage = CascadeStage<Verifier, Verdict>;

const hasMethod = (value: unknown, method: string): boolean =>
  typeof (value as Record<string, unknown> | null | undefined)?.[method] === 'function';

/**
 * Judges of pairs from cheap to dear (Trust or Escalate, arXiv 2407.18370): a pair goes on to the next judge unless what this one said is
 * accepted; `confident(margin)` accepts a judge that is sure enough. A verdict has the tokens of all judges that were asked, and its explanation says which
 * one decided.
 *
 * @throws OptionError for no stages or a stage without a judge; EvaluationError `BAD_RESPONSE` for a judge that leaves pairs out
 */
export function pairCascade(stages: readonly PairStage[]): PairJudge {
  assertStages('pairCascade', stages, 'compare');
  return {
    name: nameOf(stages),
    compare: (requests) =>
      cascaded(
        stages,
        requests,
        (judge, some) => judge.compare(some),
        ({ winner }) => winner !== null,
      ),
  };
}

/**
 * The same of verifiers: a checker first, a small judge next, a large one last. By default a stage is passed where it could not score (`null`).
 *
 * @throws OptionError; EvaluationError `BAD_RESPONSE`
 */
export function cascade(stages: readonly VerifierStage[]): Verifier {
  assertStages('cascade', stages, 'verify');
  return {
    name: nameOf(stages),
    verify: (requests) =>
      cascaded(
        stages,
        requests,
        (judge, some) => judge.verify(some),
        ({ score }) => score !== null,
      ),
  };
}

/** Accepts a verdict whose preference is at least `margin` from ½; of a judge that says no preference, any winner but a tie. */
export const confident =
  (margin: number) =>
  ({ winner, preference }: PairVerdict): boolean =>
    winner !== null && (preference === undefined ? winner !== 'tie' : Math.abs(preference - 0.5) >= margin);

async function cascaded<
  Judge extends { readonly name: string },
  Request,
  Said extends { usage?: Usage; explanation?: string },
>(
  stages: readonly CascadeStage<Judge, Said>[],
  requests: readonly Request[],
  ask: (judge: Judge, requests: readonly Request[]) => Promise<Said[]>,
  hasSaid: (said: Said) => boolean,
): Promise<Said[]> {
  const said: (Said | undefined)[] = requests.map(() => undefined);
  const used: Usage[][] = requests.map(() => []);
  let open = requests.map((_, i) => i);
  for (const [s, { judge, accept = hasSaid }] of stages.entries()) {
    if (open.length === 0) break;
    const verdicts = await ask(
      judge,
      open.map((i) => requests[i]!),
    );
    assertLength(judge.name, 'verdicts', verdicts.length, open.length, 'requests');
    const isLast = s === stages.length - 1;
    const left: number[] = [];
    verdicts.forEach((verdict, k) => {
      const i = open[k]!;
      if (verdict.usage) used[i]!.push(verdict.usage);
      if (!isLast && !(hasSaid(verdict) && accept(verdict))) {
        left.push(i);
        return;
      }
      const usage = addUsage(used[i]!);
      const explanation = `decided by ${judge.name}${verdict.explanation === undefined ? '' : `: ${verdict.explanation}`}`;
      said[i] = { ...verdict, explanation, ...(usage && { usage }) };
    });
    open = left;
  }
  return said as Said[];
}

function assertStages(where: string, stages: unknown, method: string): void {
  const isGood =
    Array.isArray(stages) &&
    stages.length > 0 &&
    stages.every((stage) => hasMethod((stage as PairStage | null)?.judge, method));
  assertArgument(where, 'stages', stages, isGood, `a list of { judge, accept? } whose judges have ${method}(requests)`);
}

const nameOf = (stages: readonly { readonly judge: { readonly name: string } }[]): string =>
  `cascade of ${stages.map(({ judge }) => judge.name).join(', ')}`;
