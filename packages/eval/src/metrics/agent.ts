import { isDeepStrictEqual } from 'node:util';
import { type ToolCallF1Options, toolCallF1 } from '../agents/tool-call-f1.js';
import { toolCallsOf } from '../agents/tool-calls.js';
import { type TrajectoryMatchOptions, trajectoryMatch } from '../agents/trajectory-match.js';
import type { AgentProblem } from '../kinds/agent.js';
import type { Metric } from '../task.js';

/** A metric of an agent's problems. */
export type AgentMetric = Metric<AgentProblem>;

/** Whether the agent's messages are the reference's: see `trajectoryMatch`. No value without a reference. */
export function trajectory(given: TrajectoryMatchOptions = {}): AgentMetric {
  return {
    name: `trajectory_${given.mode ?? 'strict'}_match`,
    value: ({ messages, reference }) => (reference ? Number(trajectoryMatch(messages, reference, given)) : null),
  };
}

/** F1 over tool calls: see `toolCallF1`. No value without a reference. */
export function toolCalls(given: ToolCallF1Options = {}): AgentMetric {
  return {
    name: 'tool_call_f1',
    value: ({ messages, reference }) => (reference ? toolCallF1(messages, reference, given).f1 : null),
  };
}

/** Whether the state that the agent left is the goal, as JSON (τ-bench, arXiv 2406.12045, compares databases so). No value without a goal. */
export function stateSuccess(): AgentMetric {
  return {
    name: 'state_success',
    value: ({ state, goal }) => (goal === undefined ? null : Number(isDeepStrictEqual(asJson(state), asJson(goal)))),
  };
}

/** What a run took: tokens of prompts and completions, calls of a model, calls of tools, or seconds. No value where it is not known. */
export function agentCost(what: 'tokens' | 'modelCalls' | 'toolCalls' | 'seconds'): AgentMetric {
  return {
    name: `agent_${what}`,
    value({ messages, usage, modelCalls, seconds }) {
      if (what === 'seconds') return seconds;
      if (what === 'toolCalls') return messages.flatMap(toolCallsOf).length;
      if (what === 'modelCalls') return modelCalls ?? messages.filter(({ role }) => role === 'assistant').length;
      return usage ? usage.promptTokens + usage.completionTokens : null;
    },
  };
}

/** As the log has it: what JSON leaves out is left out. */
const asJson = (value: unknown): unknown => (value === undefined ? undefined : JSON.parse(JSON.stringify(value)));
