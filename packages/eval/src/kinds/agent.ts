import type { ChatMessage, Prompt, Usage } from '@posttrain/interfaces';
import { showValue } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import type { ProblemBase } from '../log/format.js';
import type { Row } from '../task.js';
import {
  hashRequest,
  type KindTask,
  problemSeed,
  recordOf,
  requireMethod,
  type TaskKind,
  untilAborted,
} from '../task-kind.js';

/** What an agent is asked. */
export interface AgentRequest {
  readonly prompt: Prompt;
  readonly row: Readonly<Record<string, unknown>>;
  readonly seed: number;
  readonly signal?: AbortSignal;
}

/** What an agent did. */
export interface AgentRun {
  /** What it did, without the prompt: OpenAI messages, results of tools among them. */
  readonly messages: readonly ChatMessage[];
  /** The state of the environment in the end, as JSON. */
  readonly state?: unknown;
  /** Tokens over all its calls of a model. */
  readonly usage?: Usage;
  /** Calls of a model. Default: its messages of the role `assistant`. */
  readonly modelCalls?: number;
}

/** Anything that works on a task over several turns: a model with tools, an endpoint, a scripted test double. */
export interface Agent {
  readonly name: string;
  act(request: AgentRequest): Promise<AgentRun>;
}

/** A problem as it is logged, with what the agent did. */
export interface AgentProblem extends ProblemBase, AgentRun {
  readonly seed: number;
  /** The messages it should have sent, and the state it should have left, where the task says so. */
  readonly reference?: readonly ChatMessage[];
  readonly goal?: unknown;
}

/** A task of an agent. */
export interface AgentTask<R extends Row = Row> extends KindTask<R, Agent, AgentProblem> {
  readonly type: 'agent';
  /** The messages of a good run. Default: none, and metrics of trajectories have no value. */
  reference?(row: R): readonly ChatMessage[];
  /** The state that a good run leaves. Default: none, and `stateSuccess` has no value. */
  goal?(row: R): unknown;
}

/**
 * An agent that acts over several turns: what it did is logged, and metrics see it. Problems of one batch run at a time, so `batchSize` is how many.
 */
export const agentKind: TaskKind<AgentTask, Agent, AgentProblem> = {
  type: 'agent',
  keys: ['reference', 'goal'],
  checkModel(model, where) {
    requireMethod(model, 'act', 'agent', 'LocalGenerator', where);
  },
  check(task, where) {
    for (const key of ['reference', 'goal'] as const) {
      const value: unknown = task[key];
      if (value === undefined || typeof value === 'function') continue;
      throw new EvaluationError('BAD_TASK', `${where}: ${key} is ${showValue(value)}; it must be a function of a row.`);
    }
  },
  settings: () => ({}),
  hash: (task, problem, { seed }) =>
    hashRequest([
      problem.prompt,
      task.reference?.(problem.row),
      task.goal?.(problem.row),
      problemSeed(seed, problem.id),
    ]),
  ask: (task, problems, agent, context) =>
    Promise.all(
      problems.map(async (problem): Promise<AgentProblem> => {
        const begun = performance.now();
        const { prompt, id } = problem;
        const seed = problemSeed(context.seed, id);
        const row = problem.row as Readonly<Record<string, unknown>>;
        const request = { prompt, row, seed, ...(context.signal && { signal: context.signal }) };
        const run = await untilAborted(() => agent.act(request), context.signal, task.name);
        if (!Array.isArray((run as Partial<AgentRun> | undefined)?.messages))
          throw new EvaluationError(
            'BAD_RESPONSE',
            `${agent.name} gave ${showValue(run)} for "${id}"; an agent gives { messages, state?, usage? }.`,
          );
        const { messages, state, usage, modelCalls } = run;
        return {
          ...recordOf(problem, agentKind.hash(task, problem, context), (performance.now() - begun) / 1000),
          seed,
          messages: asJson(messages),
          ...(state !== undefined && { state: asJson(state) }),
          ...(usage && { usage }),
          ...(modelCalls !== undefined && { modelCalls }),
          ...(task.reference && { reference: task.reference(problem.row) }),
          ...(task.goal && { goal: task.goal(problem.row) }),
        };
      }),
    ),
  seen: (record) => record,
  usage: ({ usage }) => (usage ? [usage] : []),
};

/** A task of an agent, of the keys that all tasks have, `reference` and `goal`. */
export function agent<R extends Row>(task: Omit<AgentTask<R>, 'type' | 'kind'>): AgentTask<R> {
  return { ...task, type: 'agent', kind: agentKind };
}

/** As the log has it: what JSON leaves out is left out. */
const asJson = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;
