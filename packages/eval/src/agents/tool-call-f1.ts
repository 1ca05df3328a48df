import { type ChatMessage, type Given, options } from '@posttrain/interfaces';
import { matchesCall, toolCallsOf } from './tool-calls.js';
import { callShape } from './trajectory-match.js';

const f1Options = options('toolCallF1', callShape);
/** Options of `toolCallF1`. */
export type ToolCallF1Options = Given<typeof f1Options>;

/** How many of the calls were right, and of the right ones made. */
export interface ToolCallScore {
  /** Matched calls as a share of those made; 1 where none were made and none were wanted, else 0 of none. */
  readonly precision: number;
  /** The same of those wanted. */
  readonly recall: number;
  /** 2 P R / (P + R), 0 where both are. */
  readonly f1: number;
  readonly matched: number;
}

/**
 * F1 over tool calls: a largest matching between the calls made and those wanted, one to one, over the whole trajectory; order counts for nothing. Two calls match when
 * the tool is the same and the arguments are by `args` and `argsByTool`.
 *
 * @throws OptionError; EvaluationError `BAD_TRAJECTORY`
 */
export function toolCallF1(
  messages: readonly ChatMessage[],
  reference: readonly ChatMessage[],
  given: ToolCallF1Options = {},
): ToolCallScore {
  const { args, argsByTool } = f1Options.read(given);
  const calls = messages.flatMap(toolCallsOf);
  const wanted = reference.flatMap(toolCallsOf);
  if (calls.length === 0 && wanted.length === 0) return { precision: 1, recall: 1, f1: 1, matched: 0 };
  const edges = calls.map((call) =>
    wanted.flatMap((reference, j) => (matchesCall(call, reference, args, argsByTool) ? [j] : [])),
  );
  const matched = largestMatching(edges, wanted.length);
  const share = (of: number): number => (of === 0 ? 0 : matched / of);
  const f1 = (2 * matched) / (calls.length + wanted.length);
  return { precision: share(calls.length), recall: share(wanted.length), f1, matched };
}

/** The size of a largest matching of a bipartite graph, by augmenting paths (Kuhn). */
function largestMatching(edges: readonly (readonly number[])[], right: number): number {
  const partner = new Array<number>(right).fill(-1);
  const augment = (left: number, seen: boolean[]): boolean =>
    edges[left]!.some((j) => {
      if (seen[j]) return false;
      seen[j] = true;
      if (partner[j]! >= 0 && !augment(partner[j]!, seen)) return false;
      partner[j] = left;
      return true;
    });
  return edges.filter((_, left) => augment(left, new Array<boolean>(right).fill(false))).length;
}
