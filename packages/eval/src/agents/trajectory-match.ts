import { type ChatMessage, custom, type Given, oneOf, options } from '@posttrain/interfaces';
import { ARGUMENT_MODES, type ArgumentRule, matchesCall, type ToolCall, toolCallsOf } from './tool-calls.js';

const isRules = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Options that compare calls, to be spread into declarations. */
export const callShape = {
  /**
   * How arguments are compared: `exact`, `ignore`, `subset` (each of the agent's is the reference's) or `superset` (each of the reference's is the agent's).
   * Default `exact`.
   */
  args: oneOf(ARGUMENT_MODES, { default: 'exact' }),
  /** Other rules for tools by name: a mode, paths (`address.city`) that must be equal, or a function. Default: none. */
  argsByTool: custom<Readonly<Record<string, ArgumentRule>>>()('an object of rules by tool', isRules, { default: {} }),
};

const trajectoryOptions = options('trajectoryMatch', {
  /**
   * `strict`: message by message, equal roles and calls (the calls of one message in any order; texts may differ); `unordered`: the same calls in any
   * order; `subset`: no call but those of the reference; `superset`: all calls of the reference, and others. Default `strict`.
   */
  mode: oneOf(['strict', 'unordered', 'subset', 'superset'], { default: 'strict' }),
  ...callShape,
});
/** Options of `trajectoryMatch`. */
export type TrajectoryMatchOptions = Given<typeof trajectoryOptions>;

/**
 * Whether an agent's messages are a reference's, by the rules of LangChain's agentevals (`create_trajectory_match_evaluator`). Calls are matched one to one, each to the
 * first that fits and is free, in the order of the reference (`strict`: of the agent). In `unordered` both sides must contain the other, so that `subset` and `superset` of
 * arguments are both equality. Arguments that are no JSON object match nothing, where agentevals throws.
 *
 * @param messages what the agent did: OpenAI messages
 * @throws OptionError; EvaluationError `BAD_TRAJECTORY` for a call without a name
 */
export function trajectoryMatch(
  messages: readonly ChatMessage[],
  reference: readonly ChatMessage[],
  given: TrajectoryMatchOptions = {},
): boolean {
  const { mode, args, argsByTool } = trajectoryOptions.read(given);
  const fits = (call: ToolCall, of: ToolCall): boolean => matchesCall(call, of, args, argsByTool);
  if (mode === 'strict') {
    if (messages.length !== reference.length) return false;
    return messages.every((message, i) => {
      const expected = reference[i]!;
      const [calls, wanted] = [toolCallsOf(message), toolCallsOf(expected)];
      if (message.role !== expected.role || calls.length !== wanted.length) return false;
      return covers(wanted, calls, (of, call) => fits(call, of));
    });
  }
  const calls = messages.flatMap(toolCallsOf);
  const wanted = reference.flatMap(toolCallsOf);
  if (mode === 'superset') return covers(calls, wanted, fits);
  if (mode === 'subset') return covers(wanted, calls, fits);
  return covers(calls, wanted, fits) && covers(wanted, calls, fits);
}

/** Whether each of `needed` has one of `offered` to itself; the first that is free is taken. */
function covers<T>(offered: readonly T[], needed: readonly T[], fits: (one: T, need: T) => boolean): boolean {
  const taken = new Set<number>();
  return needed.every((need) => {
    const found = offered.findIndex((one, i) => !taken.has(i) && fits(one, need));
    if (found < 0) return false;
    taken.add(found);
    return true;
  });
}
