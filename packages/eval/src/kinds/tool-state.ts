import { isDeepStrictEqual } from 'node:util';
import type { ChatMessage, Generator, SamplingParams, Usage } from '@posttrain/interfaces';
import { showValue } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import { parseFunctionCalls } from '../instructions/function-calls.js';
import type { ProblemBase } from '../log/format.js';
import { pythonValue } from '../python/expression.js';
import type { Metric } from '../task.js';
import {
  type AskContext,
  assertLength,
  hashRequest,
  type KindTask,
  type Problem,
  problemSeed,
  recordOf,
  requireMethod,
  type TaskKind,
  untilAborted,
} from '../task-kind.js';

/** A tool: a pure function of a state, which gives the next one and what the model is told. What it throws is told to the model, and nothing changes. */
export interface Tool<State> {
  /** One line: what it does, with its arguments. */
  readonly description: string;
  run(state: State, args: Readonly<Record<string, unknown>>): { readonly state: State; readonly result: unknown };
}

/** What is asked, and what must be so at the end. */
export interface ToolStateRow<State> {
  readonly request: string;
  readonly state: State;
  readonly goal: State;
}

/** A call as it is logged. */
export interface LoggedCall {
  readonly name: string;
  readonly args: Readonly<Record<string, unknown>>;
  /** Why it was refused. */
  readonly error?: string;
}

/** A conversation with tools as it is logged. */
export interface ToolStateProblem extends ProblemBase {
  readonly messages: readonly ChatMessage[];
  readonly calls: readonly LoggedCall[];
  /** Times that the model spoke. */
  readonly turns: number;
  /** Whether the state at the end is the goal. */
  readonly success: boolean;
  readonly usages: readonly Usage[];
}

/** A task with tools and a state. Made by `toolState`. */
export interface ToolStateTask<State = unknown> extends KindTask<ToolStateRow<State>, Generator, ToolStateProblem> {
  readonly type: 'tool_state';
  readonly tools: Readonly<Record<string, Tool<State>>>;
  /** Rules of the place, before the tools. Default: none. */
  readonly policy?: string;
  /** Times that the model may speak. Default 20. */
  readonly maxTurns?: number;
  readonly sampling?: Omit<SamplingParams, 'seed'>;
}

type AnyTask = ToolStateTask<unknown>;

/**
 * Tools that change a state, in the manner of τ-bench (arXiv 2406.12045): the model speaks until it makes no more calls, and has succeeded where
 * the state at the end is the goal, whatever it says. Calls are Python's, `name(argument="…")`, or a list of them, as the whole turn.
 */
export const toolStateKind: TaskKind<AnyTask, Generator, ToolStateProblem> = {
  type: 'tool_state',
  keys: ['tools', 'policy', 'maxTurns', 'sampling'],
  checkModel: (model, where) => requireMethod(model, 'generate', 'generator', 'LocalGenerator', where),
  check({ tools, maxTurns = 1 }, where) {
    const bad = Object.entries(tools ?? {}).find(
      ([, tool]) => typeof (tool as Partial<Tool<unknown>> | null)?.run !== 'function',
    );
    if (tools === undefined || bad)
      throw new EvaluationError(
        'BAD_TASK',
        `${where}: tools must be an object of tools, each with description and run(state, args).`,
      );
    if (!Number.isInteger(maxTurns) || maxTurns < 1)
      throw new EvaluationError(
        'BAD_TASK',
        `${where}: maxTurns is ${showValue(maxTurns)}; it must be a whole number above 0.`,
      );
  },
  settings: ({ tools, policy = '', maxTurns = 20, sampling = {} }) => ({
    tools: Object.keys(tools),
    policy,
    maxTurns,
    sampling,
  }),
  hash: (task, problem, context) =>
    hashRequest([messagesOf(task, problem), task.sampling ?? {}, problemSeed(context.seed, problem.id)]),
  ask: (task, problems, model, context) =>
    Promise.all(
      problems.map(async (problem) => {
        const begun = performance.now();
        const told = await converse(task, problem, model, context);
        const hash = hashRequest([
          messagesOf(task, problem),
          task.sampling ?? {},
          problemSeed(context.seed, problem.id),
        ]);
        return { ...recordOf(problem, hash, (performance.now() - begun) / 1000 / problems.length), ...told };
      }),
    ),
  seen: (record) => record,
  usage: ({ usages }) => usages,
};

function messagesOf({ tools, policy }: AnyTask, { row }: Problem): ChatMessage[] {
  const list = Object.entries(tools).map(([name, { description }]) => `${name}: ${description}`);
  const rules = `You have tools. To use one, say nothing but the call, such as name(argument="value"). When all is done, say so without a call.\n\n${list.join('\n')}`;
  return [
    { role: 'system', content: policy === undefined ? rules : `${policy}\n\n${rules}` },
    { role: 'user', content: (row as ToolStateRow<unknown>).request },
  ];
}

async function converse(task: AnyTask, problem: Problem, model: Generator, { seed, signal }: AskContext) {
  const row = problem.row as ToolStateRow<unknown>;
  const messages = messagesOf(task, problem);
  const calls: LoggedCall[] = [];
  const usages: Usage[] = [];
  let state = structuredClone(row.state);
  let turns = 0;
  while (turns < (task.maxTurns ?? 20)) {
    const request = {
      prompt: [...messages],
      ...task.sampling,
      seed: problemSeed(seed, `${problem.id}/${turns}`),
      ...(signal && { signal }),
    };
    const [completions] = await untilAborted(() => model.generate([request]), signal, task.name);
    assertLength(model.name, 'completions', completions?.length ?? 0, 1, 'request');
    const { text, usage } = completions![0]!;
    turns++;
    usages.push(usage);
    messages.push({ role: 'assistant', content: text });
    const made = callsIn(text);
    if (made.length === 0) break;
    for (const { name, args } of made) {
      const outcome = run(task, state, name, args);
      state = outcome.state;
      calls.push({ name, args, ...(outcome.error !== undefined && { error: outcome.error }) });
      messages.push({ role: 'tool', name, content: outcome.error ?? JSON.stringify(outcome.result ?? null) });
    }
  }
  return { messages, calls, turns, usages, success: isDeepStrictEqual(state, row.goal) };
}

/** Calls that a turn makes; none where it is no list of calls. */
function callsIn(text: string): { readonly name: string; readonly args: Readonly<Record<string, unknown>> }[] {
  try {
    return parseFunctionCalls(text).map(({ name, named }) => ({
      name,
      args: Object.fromEntries(named.map(([key, value]) => [key, pythonValue(value)])),
    }));
  } catch (error) {
    if (error instanceof EvaluationError) return [];
    throw error;
  }
}

function run(
  { tools }: AnyTask,
  state: unknown,
  name: string,
  args: Readonly<Record<string, unknown>>,
): { state: unknown; result?: unknown; error?: string } {
  const tool = Object.hasOwn(tools, name) ? tools[name] : undefined;
  if (!tool) return { state, error: `Error: there is no tool ${name}.` };
  try {
    // A copy: a tool that throws has changed nothing.
    return tool.run(structuredClone(state), args);
  } catch (error) {
    return { state, error: `Error: ${error instanceof Error ? error.message : String(error)}` };
  }
}

/** A task with tools, of the keys that all tasks have, `tools`, `policy`, `maxTurns` and `sampling`. */
export function toolState<State>(task: Omit<ToolStateTask<State>, 'type' | 'kind' | 'prompt'>): ToolStateTask<State> {
  return {
    ...task,
    type: 'tool_state',
    kind: toolStateKind as ToolStateTask<State>['kind'],
    prompt: ({ request }) => request,
  };
}

/** 1 where the state at the end is the goal. */
export function toolStateSuccess(): Metric<ToolStateProblem> {
  return { name: 'success', value: ({ success }) => Number(success) };
}
